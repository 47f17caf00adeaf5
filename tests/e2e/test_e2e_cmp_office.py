"""`openssl cmp` where somebody approves, where an RA speaks for others, and where keys are made here."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from openssl_cmp import OpenSSL, program
from server_harness import PATIENCE_S, Server, copied, eventually, running, start

from config.profile import SHIPPED_PROFILES
from store.database import Transaction, read_only

pytestmark = pytest.mark.interop

NUMBERS: Final = count(1)
MADE = """
description = "A {name} whose key is made here"
issuer = "infrastructure"
lifetime = "90d"
keys = ["{key}"]
key_usage = ["digitalSignature", "{usage}"]
extended_key_usage = ["clientAuth"]
server_keygen = true
[[subject]]
attribute = "organizationName"
source = "credential"
required = false
[[subject]]
attribute = "commonName"
source = "credential"
[[policies]]
oid = "1.3.6.1.4.1.32473.2.1"
"""
KINDS = {
    "lamp": (),
    "pump": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
}
KEYS_MADE = {"lamp": ("ec:P-256", "keyAgreement"), "pump": ("rsa:2048", "keyEncipherment")}


def changed(home: Path, *, confirm_wait: str = "5m") -> Path:
    """Have gates wait for approval, clients poll each second, and keys of lamps and pumps made here."""
    folder = home / "profiles"
    folder.mkdir(exist_ok=True)
    device = (SHIPPED_PROFILES / "device.toml").read_text()
    (folder / "gate.toml").write_text(f"approval = true\n{device.replace('credential', 'request')}")
    for name, (key, usage) in KEYS_MADE.items():
        (folder / f"{name}.toml").write_text(MADE.format(name=name, key=key, usage=usage))
    configuration = home / "pkiserver.toml"
    text = configuration.read_text().replace('check_after = "30s"', 'check_after = "1s"')
    configuration.write_text(text.replace('confirm_wait = "5m"', f'confirm_wait = "{confirm_wait}"'))
    return home


@pytest.fixture(scope="module")
def office(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(changed(copied(pristine, tmp_path_factory.mktemp("office") / "home"))) as server:
        yield server


@pytest.fixture(params=["system", "newer"])
def openssl(request: pytest.FixtureRequest, office: Server, tmp_path: Path) -> OpenSSL:
    return OpenSSL(office, tmp_path, program(request.param), f"gate-{next(NUMBERS)}")


# ---- Waiting for approval


@pytest.mark.parametrize("decision", ["approve", "refuse"])
@pytest.mark.parametrize("command", ["ir", "cr", "p10cr"])
def test_polling_until_somebody_decides(openssl: OpenSSL, command: str, decision: str) -> None:
    server = openssl.server
    known = openssl.secret(openssl.credential("gate"))
    key = openssl.key("polled")
    asked = (
        ("-csr", openssl.request("polled", key))
        if command == "p10cr"
        else ("-newkey", key, "-subject", openssl.subject)
    )
    made = openssl.folder / "polled.pem"
    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(openssl.run, "-cmd", command, "-certout", made, *known, *asked)
        decide(server, openssl.identity, decision)
        done, said = run.result(PATIENCE_S)
    if decision == "approve":
        assert done, said
        server.shows(openssl.certificate("polled"), "good")
    else:
        assert not done
        assert "notAuthorized" in said
        assert "no such device" in said


def decide(server: Server, subject: str, decision: str) -> None:
    """Approve or refuse what waits for this subject, once it does."""

    def waiting() -> str | None:
        found = server.command("enrollment.list", state="waiting", limit=50)
        return next((one["enrollment"] for one in found if one["subject"] == subject), None)

    number = eventually(waiting, "the enrolment")
    reason = {"reason": "no such device"} if decision == "refuse" else {}
    server.command(f"enrollment.{decision}", enrollment=number, **reason)


# ---- A registration client


@pytest.fixture
def station(openssl: OpenSSL) -> tuple[str | Path, ...]:
    """The options of a registered RA."""
    key, name = openssl.key("station"), f"station-{openssl.name}"
    known = openssl.secret(openssl.credential("registration-client", f"CN={name}"))
    openssl.enroll("ir", "station", *known, "-newkey", key, "-subject", f"/CN={name}")
    pem = (openssl.folder / "station.pem").read_text()
    openssl.server.command("actor.add", name=name, role="ra", pem=pem)
    return ("-cert", openssl.folder / "station.pem", "-key", key)


@pytest.mark.parametrize("popo", ["0", "1"], ids=["raverified", "signature"])
def test_a_registration_client_enrols_others(
    openssl: OpenSSL, station: tuple[str | Path, ...], popo: str
) -> None:
    certificate = enrolled_by(openssl, station, "-popo", popo)
    assert certificate.subject.rfc4514_string() == openssl.identity


@pytest.mark.parametrize("popo", ["0", "1"], ids=["raverified", "signature"])
def test_a_registration_client_updates_for_others(
    openssl: OpenSSL, station: tuple[str | Path, ...], popo: str
) -> None:
    old = enrolled_by(openssl, station)
    asked = ("-oldcert", openssl.folder / "gate.pem", "-newkey", openssl.key("renewed"), "-popo", popo)
    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(partial(openssl.enroll, "kur", "renewed", *station, *asked))
        decide(openssl.server, openssl.identity, "approve")
        new = run.result(PATIENCE_S)
    assert new.subject == old.subject
    assert new.serial_number != old.serial_number


def enrolled_by(openssl: OpenSSL, station: tuple[str | Path, ...], *more: str | Path) -> x509.Certificate:
    asked = (*station, *openssl.asked(), *more)
    with ThreadPoolExecutor(1) as threads:
        path = "/.well-known/cmp/p/gate"
        run = threads.submit(partial(openssl.enroll, "cr", "gate", *asked, path=path))
        decide(openssl.server, openssl.identity, "approve")
        return run.result(PATIENCE_S)


def test_a_registration_client_suspends_restores_and_revokes(
    openssl: OpenSSL, station: tuple[str | Path, ...]
) -> None:
    certificate = enrolled_by(openssl, station)
    path = openssl.folder / "gate.pem"
    for reason, status in (("6", "revoked"), ("8", "good"), ("4", "revoked")):
        openssl.does("-cmd", "rr", *station, "-oldcert", path, "-revreason", reason)
        openssl.server.shows(certificate, status)
    for reason, told in (("8", "certRevoked"), ("1", "certRevoked")):
        assert told in openssl.fails("-cmd", "rr", *station, "-oldcert", path, "-revreason", reason)


def test_issuer_and_serial_name_what_is_revoked(openssl: OpenSSL, station: tuple[str | Path, ...]) -> None:
    if not openssl.is_newer:
        pytest.skip("openssl 3.0 names it by -oldcert alone")
    certificate = enrolled_by(openssl, station)
    issuer = "".join(f"/{part}" for part in reversed(certificate.issuer.rfc4514_string().split(",")))
    named = ("-issuer", issuer, "-serial", str(certificate.serial_number))
    openssl.does("-cmd", "rr", *station, *named, "-revreason", "0")
    openssl.server.shows(certificate, "revoked")


# ---- Keys that are made here


def test_a_key_that_is_made_here(openssl: OpenSSL) -> None:
    """It comes as an EncryptedValue to an RSA certificate, since OpenSSL says pvno 2 (RFC 9810 §5.2.2)."""
    asked = asked_for_a_key(openssl, "pump")
    certificate = openssl.enroll("cr", "made", *asked)
    made = load_pem_private_key((openssl.folder / "made.key").read_bytes(), None)
    assert isinstance(made, rsa.RSAPrivateKey)
    assert made.public_key() == certificate.public_key()
    assert certificate.public_key() != openssl.certificate("own").public_key()
    openssl.server.shows(certificate, "good")
    openssl.enroll("kur", "renewed", "-cert", openssl.folder / "made.pem", *newly(openssl))


@pytest.mark.parametrize("by", ["certificate", "secret"])
def test_a_key_that_could_not_be_read_is_not_made(openssl: OpenSSL, by: str) -> None:
    """pvno 2 has nothing for keys on curves and for secrets; of pvno 3 OpenSSL 3.5 reads no key anyway."""
    asked = asked_for_a_key(openssl, "lamp")
    if by == "secret":
        known = openssl.secret(openssl.credential("lamp", f"CN={openssl.name}-2"))
        asked = (*known, *asked[4:], "-subject", f"/CN={openssl.name}-2")
    told = openssl.fails("-cmd", "cr", *asked)
    assert "say pvno 3" in told
    assert not (openssl.folder / "made.key").exists()


def asked_for_a_key(openssl: OpenSSL, profile: str) -> tuple[str | Path, ...]:
    """Return the options of who holds a certificate and asks for another, with a key that is made here."""
    if not openssl.is_newer:
        pytest.skip("openssl 3.0 has no -centralkeygen")
    subject = f"/CN={openssl.name}"
    known = openssl.secret(openssl.credential(profile, f"CN={openssl.name}"))
    own = openssl.key("own", *KINDS[profile])
    openssl.enroll("ir", "own", *known, "-newkey", own, "-subject", subject)
    held = ("-cert", openssl.folder / "own.pem", "-key", own)
    return (*held, "-centralkeygen", "-newkeyout", openssl.folder / "made.key", "-subject", subject)


def newly(openssl: OpenSSL) -> tuple[str | Path, ...]:
    """Return the options of who holds the key that was made, and has another."""
    return ("-key", openssl.folder / "made.key", "-newkey", openssl.key("another", *KINDS["pump"]))


def test_a_certificate_that_comes_encrypted(openssl: OpenSSL) -> None:
    """RFC 4211 §4.2: whoever reads it, and so can confirm it, holds the key."""
    key = openssl.key("sealed", *KINDS["pump"])
    known = openssl.secret(openssl.credential("pump", f"CN={openssl.name}"))
    asked = ("-newkey", key, "-subject", f"/CN={openssl.name}", "-popo", "2")
    certificate = openssl.enroll("ir", "sealed", *known, *asked)
    held = load_pem_private_key(key.read_bytes(), None)
    assert certificate.public_key() == held.public_key()
    openssl.server.shows(certificate, "good")


def test_no_key_is_made_where_the_profile_says_nothing_of_it(openssl: OpenSSL) -> None:
    no_popo = ("-popo", "-1")  # which the newer takes for -centralkeygen
    if openssl.is_newer:
        no_popo = (*no_popo, "-centralkeygen", "-newkeyout", openssl.folder / "none.key")
    else:
        no_popo = (*no_popo, "-newkey", openssl.key("unproved"))
    asked = (*openssl.secret(), "-subject", openssl.subject, *no_popo)
    told = openssl.fails("-cmd", "ir", *asked)
    assert ("badCertTemplate" if openssl.is_newer else "badPOP") in told


# ---- Secrets


def test_a_wrong_secret_and_a_wrong_reference(openssl: OpenSSL) -> None:
    right = openssl.credential()
    for reference, secret in ((right.reference, "wrong"), ("nobody", right.secret)):
        told = openssl.fails("-cmd", "ir", *openssl.asked(), "-ref", reference, "-secret", f"pass:{secret}")
        assert "badMessageCheck" in told
        assert "reference or secret is wrong" in told
    openssl.enroll("ir", "right", *openssl.secret(right), *openssl.asked())


# ---- Confirmation


@pytest.mark.parametrize("name", ["system", "newer"])
def test_what_nobody_confirms_is_revoked_in_time(home: Path, tmp_path: Path, name: str) -> None:
    with running(changed(home, confirm_wait="2s")) as server:
        client = OpenSSL(server, tmp_path, program(name), "gate-0")
        asked = (*client.asked(), "-disable_confirm")
        forgotten = client.enroll("ir", "forgotten", *client.secret(), *asked)
        waived = client.enroll("ir", "waived", *client.secret(), *client.asked(), "-implicit_confirm")
        server.shows(forgotten, "revoked")
        assert server.status_of(waived) == "good"


def unsettled(tx: Transaction) -> list[tuple[int]]:
    """Return the devices' certificates that are active though nobody confirmed them."""
    return tx.all(
        "SELECT c.serial FROM certificates c"
        " JOIN issuances i ON i.authority = c.authority AND i.serial = c.serial"
        " LEFT JOIN cmp_requests r ON r.issuance = i.id"
        " LEFT JOIN cmp_transactions t ON t.id = r.cmp_transaction"
        " WHERE c.profile = 'device' AND c.state = 'active' AND t.state IS NOT 'confirmed'"
    )


@pytest.mark.long
def test_no_certificate_is_left_by_kills(home: Path, tmp_path: Path) -> None:
    """Whatever moment the server is killed at, each certificate is confirmed or, in time, revoked."""
    changed(home, confirm_wait="2s")
    for delay_s in (0.03, 0.06, 0.09, 0.12, 0.15, 0.2):
        server = start(home)
        client = OpenSSL(server, tmp_path, program("system"), "gate-0")
        asked = (*client.secret(), *client.asked())
        with ThreadPoolExecutor(1) as threads:
            run = threads.submit(client.run, "-cmd", "ir", "-certout", tmp_path / "made.pem", *asked)
            time.sleep(delay_s)
            server.kill()
            run.result(PATIENCE_S)
    with running(home) as server:
        eventually(lambda: server.metric("pkiserver_cmp_unconfirmed") == 0, "upkeep")
    assert read_only(home / "pkiserver.db", unsettled) == []
