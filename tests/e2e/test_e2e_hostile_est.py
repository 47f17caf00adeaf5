"""What a malicious EST client tries on a real server: nothing is issued to whom it is not due."""

import base64
import contextlib
import http.client
import itertools
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from client_messages import Credential, Reply, ask, csr_for, key_pem, new_key, renewal_csr
from consistency import assert_consistent
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from foreign_clients import save_certificate
from server_harness import FAULTY, PATIENCE_S, Server, copied, eventually, running
from test_e2e_bad_input import assert_clean_log, http_request, rest, status_of
from test_e2e_est_interop import MACHINE, manufacturer

EST = "/.well-known/est"
CSR_TYPE = {"Content-Type": "application/pkcs10"}
RACERS = 50
ADDRESSES = (f"127.0.1.{number}" for number in itertools.count(1))  # one address is refused only so often


@pytest.fixture(scope="module")
def victim(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that everything here is tried on; in the end all its voices must agree."""
    with running(copied(pristine, tmp_path_factory.mktemp("hostile") / "home")) as server:
        yield server
        assert_consistent(server)
        assert_clean_log(server)


@dataclass(frozen=True)
class Device:
    """A device with its certificate, and the files by which it shows it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    files: tuple[Path, Path]


def enrolled(server: Server, folder: Path, profile: str = "device") -> Device:
    key = new_key()
    certificate = server.issued(key, profile, "CN=gate-1", "dns:gate-1.example.mn")
    (folder / "key.pem").write_bytes(key_pem(key))
    return Device(key, certificate, (save_certificate(folder / "held.pem", certificate), folder / "key.pem"))


def basic(credential: Credential) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credential.userpass.encode()).decode()}


def connected(server: Server, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
    """Return a connection from an address of its own."""
    connection = server.connection(context)
    connection.source_address = (next(ADDRESSES), 0)
    return connection


def exchange(server: Server, data: bytes) -> bytes:
    """Send octets from an address of their own; return all that comes until the server closes."""
    raw = socket.create_connection(
        ("127.0.0.1", server.port("https")), PATIENCE_S, source_address=(next(ADDRESSES), 0)
    )
    with server.tls().wrap_socket(raw, server_hostname="127.0.0.1") as connection:
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # refused before it was all sent
            connection.sendall(data)
        return rest(connection)


def post(
    server: Server,
    path: str,
    csr: x509.CertificateSigningRequest,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Reply:
    connection = connected(server, context)
    body = base64.b64encode(csr.public_bytes(Encoding.DER))
    try:
        return ask(connection, "POST", f"{EST}/{path}", body, CSR_TYPE | (headers or {}))
    finally:
        connection.close()


def issued(server: Server) -> int:
    return len(server.certificates())


# ---- races


def test_one_credential_raced_by_many_keys_gives_one_certificate(victim: Server) -> None:
    credential, before = victim.credential("device", "CN=gate-1", "dns:gate-1.example.mn"), issued(victim)
    requests, context = [csr_for(new_key()) for _ in range(RACERS)], victim.tls()
    with ThreadPoolExecutor(RACERS) as racers:
        replies = list(racers.map(lambda csr: victim.enroll(credential, csr, context=context), requests))
    statuses = Counter(reply.status for reply in replies)
    assert statuses[200] == 1
    assert set(statuses) <= {200, 401, 409, 503}
    assert issued(victim) == before + 1


def test_one_request_raced_gives_one_certificate(victim: Server) -> None:
    """Whoever is answered with a certificate, it is the same."""
    credential, before = victim.credential("device", "CN=gate-1", "dns:gate-1.example.mn"), issued(victim)
    csr, context = csr_for(new_key()), victim.tls()
    with ThreadPoolExecutor(RACERS) as racers:
        replies = list(racers.map(lambda _: victim.enroll(credential, csr, context=context), range(RACERS)))
    got = {reply.certificate() for reply in replies if reply.status == 200}
    assert len(got) == 1
    assert {reply.status for reply in replies} <= {200, 401, 409, 503}
    assert issued(victim) == before + 1


def test_another_key_under_a_used_credential(victim: Server) -> None:
    credential, before = victim.credential("device", "CN=gate-1", "dns:gate-1.example.mn"), issued(victim)
    assert victim.enroll(credential, csr_for(new_key())).status == 200
    swapped = post(victim, "simpleenroll", csr_for(new_key()), basic(credential))
    assert (swapped.status, swapped.body) == (401, b"")
    assert issued(victim) == before + 1


# ---- paths and labels

CONFUSED = [
    f"{EST}/%2e%2e/simpleenroll",
    f"{EST}/../est/../simpleenroll",
    f"{EST}/%2e%2e%2fsimpleenroll",
    f"{EST}//simpleenroll",
    f"{EST}/device%2fsimpleenroll",
    f"{EST}/device%00/simpleenroll",
    f"{EST}/device/device/simpleenroll",
    f"{EST}/DEVICE/simpleenroll",
    f"{EST}/device;tls-server/simpleenroll",
    f"{EST}/simpleenroll/",
    f"{EST}/simpleenroll%20",
    "/.well-known/EST/simpleenroll",
    "/est/simpleenroll",
    f"{EST}/root-ca/simpleenroll",
    f"{EST}/issuing-ca/simpleenroll",
    f"{EST}/ocsp-responder/simpleenroll",
    f"{EST}/cmc-server/simpleenroll",
    f"{EST}/tls-server/simpleenroll",
    f"{EST}/citizen-signature/simpleenroll",
]


@pytest.mark.parametrize("path", CONFUSED)
def test_no_path_makes_another_profile_of_a_credential(path: str, victim: Server) -> None:
    credential, before = victim.credential("device", "CN=gate-1", "dns:gate-1.example.mn"), issued(victim)
    body = base64.b64encode(csr_for(new_key()).public_bytes(Encoding.DER))
    headers = [f"{name}: {value}" for name, value in (CSR_TYPE | basic(credential)).items()]
    assert status_of(exchange(victim, http_request("POST", path, body, *headers))) in (400, 403, 404)
    assert issued(victim) == before
    assert victim.enroll(credential, csr_for(new_key())).status == 200  # it is as good as before


def test_what_stands_behind_a_question_mark_is_not_looked_at(victim: Server) -> None:
    credential = victim.credential("device", "CN=gate-1", "dns:gate-1.example.mn")
    reply = post(victim, "simpleenroll?label=tls-server", csr_for(new_key()), basic(credential))
    usage = reply.certificate().extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert x509.ExtendedKeyUsageOID.CLIENT_AUTH in usage  # a device's


# ---- framing

BODY = base64.b64encode(csr_for(new_key()).public_bytes(Encoding.DER))


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    parts = [f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks]
    return b"".join(parts) + b"0\r\n" + trailer + b"\r\n"


def framed(body: bytes, *headers: str) -> bytes:
    lines = [f"POST {EST}/simpleenroll HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += ["Content-Type: application/pkcs10", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


CHUNKED, GUESS = "Transfer-Encoding: chunked", "Authorization: Basic " + base64.b64encode(b"a:b").decode()
FRAMINGS = {
    "chunked over the bound": (framed(chunked(*[b"A" * 1024] * 64), CHUNKED, GUESS), {413}),
    "one chunk without end": (framed(b"ffffffff\r\n" + b"A" * (1 << 17), CHUNKED, GUESS), {400, 413}),
    "length of a chunk out of bounds": (framed(b"f" * 40 + b"\r\n", CHUNKED, GUESS), {400, 413}),
    "long chunk extension": (
        framed(b"1;" + b"x" * (1 << 17) + b"\r\nA\r\n0\r\n\r\n", CHUNKED, GUESS),
        {400, 413, 431},
    ),
    "trailers without end": (
        framed(chunked(b"AAAA", trailer=b"X: y\r\n" * 20_000), CHUNKED, GUESS),
        {400, 413, 431},
    ),
    "chunked and a length": (framed(chunked(BODY), CHUNKED, GUESS, "Content-Length: 4"), {400}),
    "two lengths": (framed(BODY, GUESS, "Content-Length: 4", f"Content-Length: {len(BODY)}"), {400}),
    "a negative length": (framed(BODY, GUESS, "Content-Length: -1"), {400}),
    "chunked twice": (framed(chunked(BODY), "Transfer-Encoding: chunked, chunked", GUESS), {400}),
    "compressed": (framed(BODY, GUESS, "Content-Encoding: gzip", f"Content-Length: {len(BODY)}"), {415}),
    "a thousand headers": (framed(b"", *[f"X-{n}: y" for n in range(1000)]), {400, 431}),
    "two credentials": (framed(BODY, GUESS, GUESS, f"Content-Length: {len(BODY)}"), {401}),
    "a certificate that nobody vouches for": (
        framed(BODY, GUESS, "Client-Cert: :MAA=:", f"Content-Length: {len(BODY)}"),
        {403},
    ),
    "two of them": (
        framed(BODY, "Client-Cert: :MAA=:", "Client-Cert: :MAA=:", f"Content-Length: {len(BODY)}"),
        {403},
    ),
    "in small letters": (
        framed(BODY, "client-cert: :MAA=:", f"Content-Length: {len(BODY)}"),
        {403},
    ),
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_no_framing_gets_by(name: str, victim: Server) -> None:
    data, statuses = FRAMINGS[name]
    assert status_of(exchange(victim, data)) in statuses
    assert victim.get("/health", "metrics").status == 200


# ---- client certificates


def test_a_certificate_s_status_at_each_request(victim: Server, tmp_path: Path) -> None:
    """Over one kept connection: what was suspended, revoked or is another's renews nothing."""
    device = enrolled(victim, tmp_path)
    connection = connected(victim, victim.tls(device.files))
    before = issued(victim)

    def renewed(csr: x509.CertificateSigningRequest) -> Reply:
        body = base64.b64encode(csr.public_bytes(Encoding.DER))
        return ask(connection, "POST", f"{EST}/simplereenroll", body, CSR_TYPE)

    own = renewal_csr(device.certificate, new_key())
    assert renewed(csr_for(new_key(), "CN=gate-2")).status == 400
    victim.suspend(device.certificate)
    assert b"suspended" in renewed(own).body
    victim.restore(device.certificate)
    victim.revoke(device.certificate)
    assert b"revoked" in renewed(own).body
    connection.close()
    assert issued(victim) == before


def test_an_expired_certificate_over_a_kept_connection(home: Path, tmp_path: Path) -> None:
    """TLS looked at its time when the connection began, and never again."""
    offset = tmp_path / "offset"
    with running(home, program=FAULTY, environment={"PKISERVER_TEST_CLOCK": str(offset)}) as server:
        device = enrolled(server, tmp_path)
        connection = server.connection(server.tls(device.files))
        body = base64.b64encode(renewal_csr(device.certificate, new_key()).public_bytes(Encoding.DER))
        assert ask(connection, "POST", f"{EST}/simplereenroll", body, CSR_TYPE).status == 200
        until = device.certificate.not_valid_after_utc - device.certificate.not_valid_before_utc
        offset.write_text(str(int(until.total_seconds()) + 1))
        reply = ask(connection, "POST", f"{EST}/simplereenroll", body, CSR_TYPE)
        assert (reply.status, reply.body) == (403, b"the client certificate is expired\n")
        connection.close()


@pytest.mark.interop  # OpenSSL makes the manufacturer
def test_a_device_that_its_manufacturer_revokes(home: Path, tmp_path: Path) -> None:
    """The CRL is put in place while the server runs, and counts on a connection that was open before."""
    acme, *files = manufacturer(tmp_path)
    (home / "acme.pem").write_bytes(acme.read_bytes())
    (home / "profiles").mkdir(exist_ok=True)
    (home / "profiles" / "machine.toml").write_text(MACHINE)
    device = x509.load_pem_x509_certificate(files[0].read_bytes())
    key = load_pem_private_key((tmp_path / "acme.key").read_bytes(), None)
    now = datetime.now(UTC)
    crl = x509.CertificateRevocationListBuilder(device.issuer, now, now + timedelta(days=1))
    crl = crl.add_revoked_certificate(x509.RevokedCertificateBuilder(device.serial_number, now).build())
    with running(home) as server:
        connection = server.connection(server.tls((files[0], files[1])))

        def ask_again() -> Reply:
            body = base64.b64encode(csr_for(new_key(), "CN=anything").public_bytes(Encoding.DER))
            return ask(connection, "POST", f"{EST}/machine/simpleenroll", body, CSR_TYPE)

        assert ask_again().status == 200
        (tmp_path / "new.pem").write_bytes(
            acme.read_bytes() + crl.sign(key, SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]  # it is an EC key
        )
        (tmp_path / "new.pem").rename(home / "acme.pem")
        eventually(lambda: ask_again().status == 403, "the CRL to be taken up")
        assert ask_again().body == b"the client certificate is revoked by its issuer\n"
        connection.close()


def test_a_certificate_opens_what_its_profile_says_alone(victim: Server, tmp_path: Path) -> None:
    device, before = enrolled(victim, tmp_path), issued(victim)
    context = victim.tls(device.files)
    own = renewal_csr(device.certificate, new_key())
    for label in ("tls-server", "administrator", "registration-client", "citizen-authentication"):
        assert post(victim, f"{label}/simplereenroll", own, context=context).status == 403
    for label in ("root-ca", "cmc-server", "ocsp-responder"):
        assert post(victim, f"{label}/simplereenroll", own, context=context).status in (403, 404)
    assert post(victim, "simpleenroll", own, context=context).status == 401
    assert post(victim, "serverkeygen", own, context=context).status == 403
    assert post(victim, "citizen-signature/serverkeygen", own, context=context).status == 403
    assert issued(victim) == before


def test_a_certificate_that_the_client_made_itself(victim: Server, tmp_path: Path) -> None:
    """It names our CA as its issuer; TLS ends with it."""
    device = enrolled(victim, tmp_path)
    real = device.certificate
    builder = x509.CertificateBuilder(
        real.issuer, real.subject, device.key.public_key(), real.serial_number
    ).not_valid_before(real.not_valid_before_utc)
    builder = builder.not_valid_after(real.not_valid_after_utc)
    for extension in real.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    forged = builder.sign(device.key, real.signature_hash_algorithm)
    context = victim.tls((save_certificate(tmp_path / "forged.pem", forged), device.files[1]))
    with pytest.raises((OSError, http.client.HTTPException)):
        post(victim, "simplereenroll", renewal_csr(real, new_key()), context=context)
