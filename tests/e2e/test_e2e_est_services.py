"""csrattrs, serverkeygen and fullcmc of a running server, as curl and OpenSSL see them."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_messages import Credential, Reply, ask, csr_for, key_pem, new_key, renewal_csr
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from foreign_clients import curl, save_certificate, tool, worked
from server_harness import Server, copied, eventually, running

from protocols import oid
from protocols.asn1 import der
from protocols.cmc.body_parts import TaggedAttribute
from protocols.cmc.controls import read_controls
from protocols.cmc.pki_data import CertReqMsg, PKIData, TaggedCertificationRequest, TaggedRequest
from protocols.cmc.pki_response import PKIResponse
from protocols.cmc.status import CMCFailInfo, CMCStatus, CMCStatusInfo
from protocols.cms.content_info import read_content_info
from protocols.cms.signed_data import SignedData
from protocols.est.csr_attributes import CsrAttrs
from protocols.est.multipart import PKCS8_CONTENT_TYPE, parse_multipart

pytestmark = pytest.mark.interop

SENSOR = """
description = "A sensor whose key is made here"
issuer = "infrastructure"
lifetime = "90d"
keys = ["ec:P-256"]
key_usage = ["digitalSignature", "keyAgreement"]
extended_key_usage = ["clientAuth"]
server_keygen = true
[[subject]]
attribute = "commonName"
source = "credential"
[[policies]]
oid = "1.3.6.1.4.1.32473.2.1"
"""


@pytest.fixture(scope="module")
def services(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = copied(pristine, tmp_path_factory.mktemp("services") / "home")
    (home / "profiles").mkdir(exist_ok=True)
    (home / "profiles" / "sensor.toml").write_text(SENSOR)
    with running(home) as server:
        yield server


def test_csrattrs(services: Server, tmp_path: Path) -> None:
    options = ("-D", tmp_path / "headers")
    body = curl(services, *options, f"{services.est_url}/sensor/csrattrs")
    assert "content-type: application/csrattrs" in (tmp_path / "headers").read_text().lower()
    template = CsrAttrs.parse(base64.b64decode(body, validate=True)).template()
    assert template is not None
    assert [one.attr_type for rdn in template.subject or () for one in rdn] == [oid.COMMON_NAME]
    assert curl(services, *options, f"{services.est_url}/csrattrs") == b""
    assert " 204" in (tmp_path / "headers").read_text().splitlines()[0]


# ---- serverkeygen


def generate(
    server: Server, credential: Credential, folder: Path
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    csr = csr_for(new_key(), "CN=ignored").public_bytes(Encoding.DER)
    (folder / "body").write_bytes(base64.b64encode(csr))
    body = curl(
        server,
        *("-u", credential.userpass, "-H", "Content-Type: application/pkcs10"),
        *("--data-binary", f"@{folder / 'body'}", "-D", folder / "headers"),
        f"{server.est_url}/sensor/serverkeygen",
    )
    lines = (folder / "headers").read_text().splitlines()
    content_type = next(line.partition(": ")[2] for line in lines if line.lower().startswith("content-type"))
    assert "Cache-Control: no-store" in lines
    key_part, certificate_part = parse_multipart(body, content_type)
    assert key_part.content_type == PKCS8_CONTENT_TYPE
    key = load_der_private_key(key_part.content, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key, Reply(200, {}, base64.b64encode(certificate_part.content)).certificate()


def test_curl_gets_a_key(services: Server, tmp_path: Path) -> None:
    key, certificate = generate(services, services.credential("sensor", "CN=sensor-1"), tmp_path)
    assert certificate.public_key() == key.public_key()
    worked(tool("openssl", "pkey", "-inform", "PEM", "-check", "-noout", stdin=key_pem(key)))
    services.shows(certificate, "good")
    assert "PRIVATE" not in services.log()


def test_the_key_is_lost_with_its_answer(services: Server) -> None:
    """A client that hangs up: its certificate is revoked, and the same credential gets another key."""
    credential = services.credential("sensor", "CN=sensor-2")
    csr = base64.b64encode(csr_for(new_key(), "CN=sensor-2").public_bytes(Encoding.DER))
    basic = base64.b64encode(credential.userpass.encode()).decode()
    connection = services.connection()
    headers = {"Content-Type": "application/pkcs10", "Authorization": f"Basic {basic}"}
    connection.request("POST", "/.well-known/est/sensor/serverkeygen", csr, headers)
    connection.sock.close()  # before the key is made
    connection.close()

    def settled() -> bool | None:
        found = [one for one in services.certificates() if one["subject"] == "CN=sensor-2"]
        return (bool(found) and all(one["status"] == "revoked" for one in found)) or None

    eventually(settled, "the certificate of the lost key to be revoked")

    def again() -> Reply | None:
        connection = services.connection()
        try:
            reply = ask(connection, "POST", "/.well-known/est/sensor/serverkeygen", csr, headers)
        finally:
            connection.close()
        return reply if reply.status == 200 else None

    assert eventually(again, "another key").status == 200


def test_profiles_without_server_keygen_refuse(services: Server) -> None:
    credential = services.credential("device", "CN=gate-9")
    basic = base64.b64encode(credential.userpass.encode()).decode()
    csr = base64.b64encode(csr_for(new_key(), "CN=gate-9").public_bytes(Encoding.DER))
    headers = {"Content-Type": "application/pkcs10", "Authorization": f"Basic {basic}"}
    reply = ask(services.connection(), "POST", "/.well-known/est/serverkeygen", csr, headers)
    assert (reply.status, reply.body) == (
        403,
        b"no keys are made for profile device: make one and enrol\n",
    )


# ---- fullcmc


def full_request(folder: Path, data: PKIData, key: Path, certificate: Path, *options: str) -> bytes:
    """Return a Full PKI Request that OpenSSL signs."""
    (folder / "pkidata").write_bytes(data.encode())
    return worked(
        tool(
            *("openssl", "cms", "-sign", "-binary", "-nodetach", "-md", "sha256"),
            *("-econtent_type", oid.CCT_PKI_DATA, "-in", folder / "pkidata"),
            *("-signer", certificate, "-inkey", key, "-outform", "DER", *options),
        )
    )


def pki_data(*requests: TaggedRequest) -> PKIData:
    controls = (
        TaggedAttribute(101, oid.CMC_TRANSACTION_ID, (der.integer(5272),)),
        TaggedAttribute(102, oid.CMC_SENDER_NONCE, (der.octet_string(b"nonce of the client"),)),
    )
    return PKIData(controls, requests)


def tcr(csr: x509.CertificateSigningRequest) -> TaggedCertificationRequest:
    return TaggedCertificationRequest(1, csr.public_bytes(Encoding.DER))


def post_cmc(server: Server, folder: Path, message: bytes, label: str = "") -> tuple[int, bytes]:
    """Return status and CMS message of an answer to what curl sends, without a client certificate."""
    (folder / "cmc").write_bytes(base64.b64encode(message))
    run = tool(
        *("curl", "--silent", "--show-error", "--cacert", server.root_pem, "-D", folder / "headers"),
        *("-H", "Content-Type: application/pkcs7-mime; smime-type=CMC-request"),
        *("--data-binary", f"@{folder / 'cmc'}", f"{server.est_url}/{label}fullcmc"),
    )
    body = worked(run)
    lines = (folder / "headers").read_text().splitlines()
    assert "Content-Type: application/pkcs7-mime; smime-type=CMC-response" in lines
    return int(lines[0].split(" ")[1]), base64.b64decode(body, validate=True)


def verified(server: Server, folder: Path, message: bytes) -> PKIResponse:
    """Return the response in a message, whose signature and chain OpenSSL verified."""
    (folder / "response").write_bytes(message)
    content = worked(
        tool(
            *("openssl", "cms", "-verify", "-inform", "DER", "-in", folder / "response", "-binary"),
            *("-CAfile", server.root_pem, "-purpose", "any"),
        )
    )
    return der.whole(content, PKIResponse.parse)


def status_of(response: PKIResponse) -> CMCStatusInfo:
    found = read_controls(response.control_sequence)
    assert found.status_info_v2 is not None
    return found.status_info_v2


@pytest.fixture
def held(services: Server, tmp_path: Path) -> tuple[Path, Path]:
    key = new_key()
    certificate = services.device(key)
    (tmp_path / "held.key").write_bytes(key_pem(key))
    return tmp_path / "held.key", save_certificate(tmp_path / "held.pem", certificate)


@pytest.mark.parametrize("options", [(), ("-keyid",), ("-stream",)])
def test_rekey_that_openssl_signs(
    services: Server, held: tuple[Path, Path], tmp_path: Path, options: tuple[str, ...]
) -> None:
    certificate, key = x509.load_pem_x509_certificate(held[1].read_bytes()), new_key()
    data = pki_data(tcr(renewal_csr(certificate, key)))
    message = full_request(tmp_path, data, *held, *options)
    status, answer = post_cmc(services, tmp_path, message)
    assert status == 200
    response = verified(services, tmp_path, answer)
    assert status_of(response) == CMCStatusInfo(CMCStatus.SUCCESS, (1,))
    controls = read_controls(response.control_sequence)
    assert (controls.transaction_id, controls.recipient_nonce) == (5272, b"nonce of the client")
    assert controls.sender_nonce not in (None, b"nonce of the client")
    signed_data = SignedData.from_content_info(read_content_info(answer))
    found = [x509.load_der_x509_certificate(one) for one in signed_data.certificates]
    [new] = [one for one in found if one.public_key() == key.public_key()]
    assert new.subject == certificate.subject
    services.shows(new, "good")

    again = SignedData.from_content_info(read_content_info(post_cmc(services, tmp_path, message)[1]))
    assert new.public_bytes(Encoding.DER) in again.certificates  # the same, not a second one


def test_refusals_are_full_pki_responses(services: Server, held: tuple[Path, Path], tmp_path: Path) -> None:
    """RFC 7030 §4.3.2: 4xx with a CMC message that says why."""
    other = tcr(csr_for(new_key(), "CN=somebody else"))
    status, answer = post_cmc(services, tmp_path, full_request(tmp_path, pki_data(other), *held))
    said = status_of(verified(services, tmp_path, answer))
    assert (status, said.status, said.body_list) == (400, CMCStatus.FAILED, (1,))
    assert said.other_info is CMCFailInfo.BAD_REQUEST
    assert "subject and subjectAltName" in (said.status_string or "")

    status, answer = post_cmc(services, tmp_path, b"\x30\x03\x02\x01\x05")
    said = status_of(verified(services, tmp_path, answer))
    assert (status, said.status, said.body_list) == (400, CMCStatus.FAILED, (0,))

    crmf = pki_data(CertReqMsg(3, der.sequence(der.integer(3))))
    status, answer = post_cmc(services, tmp_path, full_request(tmp_path, crmf, *held))
    said = status_of(verified(services, tmp_path, answer))
    assert (status, said.status, said.body_list) == (400, CMCStatus.NO_SUPPORT, (3,))


def test_revoked_signer(services: Server, held: tuple[Path, Path], tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(held[1].read_bytes())
    services.revoke(certificate)
    data = pki_data(tcr(renewal_csr(certificate, new_key())))
    status, answer = post_cmc(services, tmp_path, full_request(tmp_path, data, *held))
    said = status_of(verified(services, tmp_path, answer))
    assert (status, said.other_info) == (403, CMCFailInfo.BAD_IDENTITY)


def test_other_content_types(services: Server) -> None:
    headers = {"Content-Type": "application/pkcs10"}
    reply = ask(services.connection(), "POST", "/.well-known/est/fullcmc", b"AAAA", headers)
    assert (reply.status, reply.headers["content-type"]) == (415, "text/plain; charset=utf-8")
