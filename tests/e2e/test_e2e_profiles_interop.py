"""Certificates of every profile that a client can enrol for, as the server issues them."""

from pathlib import Path

import pytest
from client_messages import Reply, key_pem, new_key
from cryptography import x509
from foreign_clients import curl, findings, save_certificate, tool, worked
from server_harness import Server

pytestmark = pytest.mark.interop

CITIZEN = "CN=Бат-Эрдэнэ Дорж,givenName=Дорж,SN=Бат-Эрдэнэ,serialNumber=PNOMN-123456789012"
OFFICER = "CN=Бат-Эрдэнэ Дорж,title=Мэргэжилтэн,organizationIdentifier=NTRMN-9876543,O=Сангийн яам"
# Profile: authority, approved subject and alternative names, OpenSSL's purpose for it.
PROFILES = {
    "citizen-signature": ("citizen", CITIZEN, ()),
    "citizen-authentication": ("citizen", CITIZEN, ()),
    "government-token": ("government", OFFICER, ("email:bat@mof.gov.mn",)),
    "tls-server": ("infrastructure", "CN=www.gov.mn", ("dns:www.gov.mn", "dns:gov.mn")),
    "device": ("infrastructure", "CN=gate-1,serialNumber=A-17,O=Гааль,C=MN", ("dns:gate-1.gov.mn",)),
    "registration-client": ("infrastructure", "CN=Station 7,O=Registration", ()),
    "administrator": ("infrastructure", "CN=Дорж", ("email:dorj@gov.mn",)),
}
NCP = "NCP-NATURAL-PERSON-CERTIFICATE"


def enrolled(server: Server, profile: str, folder: Path, limit_mnt: int | None = None) -> Path:
    """Return the file of a certificate that openssl and curl enrolled with a credential."""
    _, subject, san = PROFILES[profile]
    (folder / "key.pem").write_bytes(key_pem(new_key()))
    csr = worked(tool("openssl", "req", "-new", "-key", folder / "key.pem", "-subj", "/"))
    (folder / "request.pem").write_bytes(csr)
    credential = server.credential(profile, subject, *san, limit_mnt=limit_mnt)
    body = curl(
        server,
        *("-u", credential.userpass, "-H", "Content-Type: application/pkcs10"),
        *("--data-binary", f"@{folder / 'request.pem'}", f"{server.est_url}/{profile}/simpleenroll"),
    )
    return save_certificate(folder / "certificate.pem", Reply(200, {}, body).certificate())


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_enrols_and_passes_lint(profile: str, shared: Server, tmp_path: Path) -> None:
    file = enrolled(shared, profile, tmp_path)
    issuer = PROFILES[profile][0]
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    verify = ("openssl", "verify", "-x509_strict", "-CAfile", shared.root_pem)
    assert worked(tool(*verify, "-untrusted", shared.ca_pem(issuer), file))
    assert findings("lint_pkix_cert", file) == set()
    shared.shows(certificate, "good", issuer)
    (found,) = (
        found for found in shared.certificates() if int(found["serial"], 16) == certificate.serial_number
    )
    assert (found["ca"], found["profile"], found["status"]) == (issuer, profile, "active")


def test_the_table_names_every_profile_that_can_be_enrolled_for(shared: Server) -> None:
    with pytest.raises(Exception, match="no profile nonsense") as refused:
        shared.credential("nonsense", "CN=x")
    assert str(refused.value).rpartition(": there are ")[2].split(", ") == sorted(PROFILES)


@pytest.mark.parametrize("limit_mnt", [None, 5_000_000])
@pytest.mark.parametrize("choice", [("-t", NCP), ("-d",)], ids=["named", "detected"])
def test_a_citizen_s_signature_certificate_passes_the_lint_of_etsi(
    limit_mnt: int | None, choice: tuple[str, ...], shared: Server, tmp_path: Path
) -> None:
    file = enrolled(shared, "citizen-signature", tmp_path, limit_mnt)
    assert findings("lint_etsi_cert", file, *choice) == set()


@pytest.mark.parametrize("name", ["root", "citizen", "government", "infrastructure"])
def test_ca_certificates_pass_lint(name: str, shared: Server) -> None:
    assert findings("lint_pkix_cert", shared.ca_pem(name)) == set()
