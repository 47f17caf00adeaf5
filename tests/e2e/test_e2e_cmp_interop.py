"""`openssl cmp` against a running server: every command that it offers, and what each is told."""

from itertools import count
from pathlib import Path
from typing import Final

import pytest
from openssl_cmp import OpenSSL, program
from server_harness import Server

pytestmark = pytest.mark.interop

KINDS = {
    "P-384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "RSA": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
}
NUMBERS: Final = count(1)
DOORS = pytest.mark.parametrize("door", ["http", "https"])
BY = pytest.mark.parametrize("protection", ["secret", "certificate"])


@pytest.fixture(params=["system", "newer"])
def openssl(request: pytest.FixtureRequest, shared: Server, tmp_path: Path) -> OpenSSL:
    return OpenSSL(shared, tmp_path, program(request.param), f"gate-{next(NUMBERS)}")


def by(openssl: OpenSSL, protection: str) -> tuple[str | Path, ...]:
    return openssl.holder() if protection == "certificate" else openssl.secret()


@DOORS
@pytest.mark.parametrize("confirm", [(), ("-implicit_confirm",), ("-disable_confirm",)], ids=str)
@pytest.mark.parametrize("command", ["ir", "cr"])
def test_enrolment_by_a_secret(openssl: OpenSSL, door: str, command: str, confirm: tuple[str, ...]) -> None:
    client = openssl.over(door)
    certificate = client.enroll(command, "made", *client.secret(), *client.asked(), *confirm)
    assert certificate.subject.rfc4514_string() == openssl.identity
    client.server.shows(certificate, "good")


@DOORS
@pytest.mark.parametrize("command", ["ir", "cr", "kur"])
def test_enrolment_by_a_certificate(openssl: OpenSSL, door: str, command: str) -> None:
    client = openssl.over(door)
    certificate = client.enroll(command, "made", *client.holder(), *client.asked())
    assert certificate.subject.rfc4514_string() == openssl.identity


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_kinds_of_keys_and_their_signatures(openssl: OpenSSL, kind: tuple[str, ...]) -> None:
    key, new = openssl.key("kind", *kind), openssl.key("kind-new", *kind)
    openssl.enroll("ir", "kind", *openssl.secret(), "-newkey", key, "-subject", openssl.subject)
    openssl.enroll("kur", "kind2", "-cert", openssl.folder / "kind.pem", "-key", key, "-newkey", new)


@BY
@pytest.mark.parametrize("command", ["p10cr", "ir"])
def test_a_pkcs10_request_as_it_is_or_as_template(openssl: OpenSSL, command: str, protection: str) -> None:
    key = openssl.key("p10")
    asked = ("-csr", openssl.request("p10", key), *(("-newkey", key) if command == "ir" else ()))
    certificate = openssl.enroll(command, "p10", *by(openssl, protection), *asked)
    assert certificate.subject.rfc4514_string() == openssl.identity


@pytest.mark.parametrize("mac", ["hmac-sha1", "hmacWithSHA256", "hmacWithSHA384", "hmacWithSHA512"])
def test_macs(openssl: OpenSSL, mac: str) -> None:
    openssl.enroll("ir", "mac", *openssl.secret(), *openssl.asked(), "-mac", mac)


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_digests_of_signatures(openssl: OpenSSL, digest: str) -> None:
    openssl.enroll("kur", "digest", *openssl.holder(), *openssl.asked(), "-digest", digest)


@DOORS
@pytest.mark.parametrize("keep_alive", ["0", "1", "2"])
def test_connections_that_are_kept_or_not(openssl: OpenSSL, door: str, keep_alive: str) -> None:
    client = openssl.over(door)
    client.enroll("ir", "kept", *client.secret(), *client.asked(), "-keep_alive", keep_alive)


def test_several_transactions_of_one_client(openssl: OpenSSL) -> None:
    secret = openssl.secret(openssl.credential(uses=3))
    openssl.enroll("ir", "repeated", *secret, *openssl.asked(), "-repeat", "3")


def test_general_information_that_is_not_known_is_passed_over(openssl: OpenSSL) -> None:
    known = (*openssl.secret(), *openssl.asked())
    openssl.enroll("ir", "info", *known, "-geninfo", "1.3.6.1.4.1.32473.9:int:56789")


def test_another_subject_than_that_of_the_credential(openssl: OpenSSL) -> None:
    asked = (*openssl.secret(), *openssl.asked())
    assert "badCertTemplate" in openssl.fails("-cmd", "ir", *asked, "-subject", "/CN=another")
    more = openssl.enroll("ir", "named", *asked, "-subject", f"{openssl.subject}/OU=unknown")
    assert more.subject.rfc4514_string() == openssl.identity  # grantedWithMods, and the client took it


# ---- The path, and the profile


def test_a_path_that_names_profile_and_operation(openssl: OpenSSL) -> None:
    path = "/.well-known/cmp/p/device/initialization"
    openssl.enroll("ir", "path", *openssl.secret(), *openssl.asked(), path=path)
    path = "/.well-known/cmp/p/tls-server"
    assert "notAuthorized" in openssl.fails("-cmd", "ir", *openssl.secret(), *openssl.asked(), path=path)


@pytest.mark.parametrize(("profile", "told"), [("device", None), ("tls-server", "notAuthorized")])
def test_a_profile_in_the_header(openssl: OpenSSL, profile: str, told: str | None) -> None:
    if not openssl.is_newer:
        pytest.skip("openssl 3.0 has no -profile")
    asked = (*openssl.secret(), *openssl.asked(), "-profile", profile)
    if told is None:
        openssl.enroll("ir", "profile", *asked)
    else:
        assert told in openssl.fails("-cmd", "ir", *asked)


# ---- Revocation

REASONS = {
    "-1": ("revoked", "certRevoked"),
    "0": ("revoked", "certRevoked"),
    "1": ("revoked", "certRevoked"),
    "3": ("revoked", "certRevoked"),
    "4": ("revoked", "certRevoked"),
    "5": ("revoked", "certRevoked"),
    "9": ("revoked", "certRevoked"),
    "6": ("revoked", "notAuthorized"),  # certificateHold: for the time being
}


@pytest.mark.parametrize("reason", REASONS)
def test_revocation(openssl: OpenSSL, reason: str) -> None:
    status, told_later = REASONS[reason]
    held = openssl.holder("revoked")
    openssl.does("-cmd", "rr", *held, "-oldcert", held[1], "-revreason", reason)
    openssl.server.shows(openssl.certificate("revoked"), status)
    assert told_later in openssl.fails("-cmd", "kur", *held, "-newkey", openssl.key("late"))


@pytest.mark.parametrize(
    ("reason", "told"), [("8", "badCertId"), ("10", "badRequest")], ids=["removeFromCRL", "aACompromise"]
)
def test_revocations_that_are_refused(openssl: OpenSSL, reason: str, told: str) -> None:
    held = openssl.holder("kept")
    assert told in openssl.fails("-cmd", "rr", *held, "-oldcert", held[1], "-revreason", reason)
    assert openssl.server.status_of(openssl.certificate("kept")) == "good"


def test_somebody_elses_certificate_is_not_revoked(openssl: OpenSSL) -> None:
    openssl.holder("other")
    told = openssl.fails("-cmd", "rr", *openssl.holder(), "-oldcert", openssl.folder / "other.pem")
    assert "notAuthorized" in told


# ---- General messages

INFO_TYPES = {  # what is told where it is refused, else what the answer names
    "caProtEncCert": None,
    "signKeyPairTypes": None,
    "encKeyPairTypes": None,
    "preferredSymmAlg": None,
    "currentCRL": None,
    "certReqTemplate": None,
    "caKeyUpdateInfo": None,
    "keyPairParamReq": None,
    "suppLangTags": "badRequest",  # asked for without a value
}


@BY
@pytest.mark.parametrize("info", [None, *INFO_TYPES])
def test_general_messages(openssl: OpenSSL, info: str | None, protection: str) -> None:
    asked = ("-cmd", "genm", *by(openssl, protection), *(("-infotype", info) if info else ()))
    if info == "certReqTemplate" and openssl.is_newer:
        asked = (*asked, "-template", openssl.folder / "template", "-keyspec", openssl.folder / "keys")
    told = INFO_TYPES.get(info or "")
    if told is None:
        openssl.does(*asked)
    else:
        assert told in openssl.fails(*asked)


@BY
def test_certificates_of_authorities(openssl: OpenSSL, protection: str) -> None:
    out = openssl.folder / "authorities.pem"
    newer = ("-cacertsout", out) if openssl.is_newer else ()
    openssl.does("-cmd", "genm", *by(openssl, protection), "-infotype", "caCerts", *newer)
    if newer:
        assert out.read_text().count("BEGIN CERTIFICATE") > 1


# ---- What is refused


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-cmd", "ir", "-unprotected_requests"), "badMessageCheck"),
        (("-cmd", "ir", "-popo", "0"), "notAuthorized"),
        (("-cmd", "ir", "-popo", "2"), "badPOP"),
        (("-cmd", "kur"), "wrongIntegrity"),
        (("-cmd", "rr"), "wrongIntegrity"),
    ],
    ids=["unprotected", "raverified", "encrypted", "kur", "rr"],
)
def test_what_a_secret_is_not_for(openssl: OpenSSL, arguments: tuple[str, ...], told: str) -> None:
    held = openssl.holder("old")[1]
    known = (*openssl.secret(), *openssl.asked(), "-oldcert", held)
    assert told in openssl.fails(*known, *arguments)
    assert openssl.server.status_of(openssl.certificate("old")) == "good"


def test_signatures_over_a_weak_hash(openssl: OpenSSL) -> None:
    held = openssl.holder()
    assert "badAlg" in openssl.fails("-cmd", "kur", *held, *openssl.asked(), "-digest", "sha1")


def test_a_server_that_is_taken_for_another(openssl: OpenSSL) -> None:
    """The client trusts another certificate than the one that signs: it must notice, and confirm nothing."""
    held = openssl.holder()
    told = openssl.fails("-cmd", "kur", *held, *openssl.asked(), "-srvcert", held[1])
    assert "srvcert does not match" in told or "CMPwrong" in told or "sender" in told
