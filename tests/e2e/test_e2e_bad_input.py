"""Bad input at the doors of a real server: a clear protocol error, and the next request works.

Nothing a client sent reaches the log unescaped, and no traceback does.
"""

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from client_messages import Credential, csr_for, new_key, ocsp_request
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from server_harness import PATIENCE_S, Server, copied, eventually, running

EVIL = "\x1b[31m\u202eevil"  # a terminal's escape sequence and a bidirectional override
EST = "/.well-known/est"
GARBAGE = bytes(range(256)) * 4


@pytest.fixture(scope="module")
def attacked(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all the bad input of this module goes to; its log is looked at in the end."""
    with running(copied(pristine, tmp_path_factory.mktemp("attacked") / "home")) as server:
        yield server
        assert_clean_log(server)


def assert_clean_log(server: Server) -> None:
    """Every line is one JSON object of printable values; none reports an error of the server's own."""
    lines = server.log_events()
    assert lines
    for line in lines:
        assert all(map(str.isprintable, texts(line))), line
        assert line["level"] in ("debug", "info"), line
        assert "exception" not in line
    assert "Traceback" not in server.log()


def texts(value: Any) -> Iterator[str]:
    """Yield every string in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, held in value.items():
            yield key
            yield from texts(held)
    elif isinstance(value, list):
        for held in value:
            yield from texts(held)


@contextmanager
def connected(server: Server, door: str) -> Iterator[socket.socket]:
    raw = socket.create_connection(("127.0.0.1", server.port(door)), timeout=PATIENCE_S)
    if door == "https":
        raw = server.tls().wrap_socket(raw, server_hostname="127.0.0.1")
    with raw:
        yield raw


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    received = b""
    try:
        while more := connection.recv(1 << 16):
            received += more
    except (ConnectionError, ssl.SSLError):
        pass
    return received


def exchange(server: Server, door: str, data: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes and return the whole answer; the server must close, since asked to, or of itself."""
    with connected(server, door) as connection:
        try:
            connection.sendall(data)
            if half_close:
                socket.socket.shutdown(connection, socket.SHUT_WR)  # SSLSocket's would end reading too
        except (ConnectionError, ssl.SSLError):
            pass  # refused before it was all sent
        return rest(connection)


def status_of(answer: bytes) -> int:
    """Return the status of the one response in an answer, 0 where the server just closed."""
    if not answer:
        return 0
    assert answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
    _, _, body = answer.partition(b"\r\n\r\n")
    assert b"Traceback" not in body
    assert all(line.isprintable() for line in body.decode("ascii").splitlines())
    return int(answer[9:12])


def http_request(
    method: str, path: str, body: bytes = b"", *headers: str, length: int | None = None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    lines += [f"Content-Length: {len(body) if length is None else length}"] if body or length else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def assert_works(server: Server) -> None:
    """Both doors serve the next client."""
    issuer = server.ca("infrastructure")
    reply = server.post_ocsp(ocsp_request(issuer, 1234))
    assert ocsp.load_der_ocsp_response(reply.body).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
    assert server.get("/crl/infrastructure.crl").status == 200
    with connected(server, "https") as connection:
        connection.sendall(http_request("GET", f"{EST}/cacerts"))
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


OCSP_TYPE = "Content-Type: application/ocsp-request"
STATUS_PLANE = {
    "garbage": (GARBAGE + b"\r\n\r\n", 400),
    "no HTTP": (b"EHLO there\r\n\r\n", 400),
    "wrong version": (b"GET /ocsp HTTP/9.9\r\n\r\n", 400),
    "TLS on the plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),
    "wrong method": (http_request("DELETE", "/ocsp"), 405),
    "unknown path": (http_request("GET", "/nonsense"), 404),
    "path with controls": (http_request("GET", "/crl/%1b%5b31m%e2%80%aeevil.crl"), 404),
    "path out of the folder": (http_request("GET", "/crl/../../pkiserver.toml"), 404),
    "encoded path out of the folder": (http_request("GET", "/crl/%2e%2e%2f%2e%2e%2fpkiserver.toml"), 404),
    "wrong content type": (http_request("POST", "/ocsp", GARBAGE, "Content-Type: text/plain"), 415),
    "oversized": (http_request("POST", "/ocsp", bytes(1 << 20), OCSP_TYPE), 413),
    "oversized announcement": (http_request("POST", "/ocsp", b"", OCSP_TYPE, length=10**12), 413),
    "endless header": (b"GET /ocsp HTTP/1.1\r\nX: " + b"x" * (1 << 20), 431),
    "two lengths": (http_request("POST", "/ocsp", b"x", OCSP_TYPE, "Content-Length: 7"), 400),
}


@pytest.mark.parametrize("name", STATUS_PLANE)
def test_the_status_plane_refuses(name: str, attacked: Server) -> None:
    data, status = STATUS_PLANE[name]
    assert status_of(exchange(attacked, "http", data)) == status
    assert_works(attacked)


def malformed_ocsp(attacked: Server) -> Iterator[bytes]:
    good = ocsp_request(attacked.ca("infrastructure"), 1234)
    yield b"\x00"
    yield GARBAGE
    for end in range(1, len(good), 7):
        yield good[:end]
    yield good + b"\x00"
    yield b"\x30\x80" * 1000
    yield b"\x30\x84\xff\xff\xff\xff"


def test_ocsp_requests_that_are_none(attacked: Server) -> None:
    for request in malformed_ocsp(attacked):
        reply = attacked.post_ocsp(request)
        assert reply.status == 200
        status = ocsp.load_der_ocsp_response(reply.body).response_status
        assert status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST, request.hex()
        path = "/ocsp/" + base64.urlsafe_b64encode(request[:100]).decode()
        assert attacked.get(path).status in (200, 400)
    assert_works(attacked)


def est_request(body: bytes, content_type: str = "application/pkcs10", **more: Any) -> bytes:
    basic = base64.b64encode(b"unknown:secret").decode()
    headers = (f"Content-Type: {content_type}", f"Authorization: Basic {basic}")
    return http_request("POST", f"{EST}/simpleenroll", body, *headers, **more)


def good_body() -> bytes:
    return base64.b64encode(csr_for(new_key(), "CN=x").public_bytes(Encoding.DER))


def basic(text: bytes) -> str:
    return "Authorization: Basic " + base64.b64encode(text).decode()


EST_DOOR = {
    "garbage": (GARBAGE + b"\r\n\r\n", 400),
    "no HTTP": (b"EHLO there\r\n\r\n", 400),
    "wrong method": (http_request("GET", f"{EST}/simpleenroll"), 405),
    "unknown path": (http_request("GET", f"{EST}/nonsense"), 404),
    "path with controls": (http_request("GET", f"{EST}/%1b%5b31m%e2%80%aeevil"), 404),
    "unknown label": (http_request("GET", f"{EST}/nonsense/cacerts"), 404),
    "body that is no request": (est_request(base64.b64encode(GARBAGE)), 400),
    "body that is no base64": (est_request(b"\x00\xff" * 40), 400),
    "truncated request": (est_request(good_body()[:100]), 400),
    "empty body": (est_request(b""), 400),
    "wrong content type": (est_request(good_body(), "text/html"), 415),
    "oversized": (est_request(b"A" * (1 << 20)), 413),
    "oversized announcement": (est_request(b"", length=10**12), 413),
    "endless header": (b"GET /x HTTP/1.1\r\nX: " + b"x" * (1 << 20), 431),
    "no credentials": (http_request("POST", f"{EST}/simpleenroll", good_body()), 401),
    "unknown credentials": (est_request(good_body()), 401),
    "controls in credentials": (
        http_request(
            "POST",
            f"{EST}/simpleenroll",
            good_body(),
            "Content-Type: application/pkcs10",
            basic(EVIL.encode() + b":x"),
        ),
        401,
    ),
    "controls in a header": (
        http_request("POST", f"{EST}/simpleenroll", good_body(), "Content-Type: text/\x1b[31m"),
        400,
    ),
}


@pytest.mark.parametrize("name", EST_DOOR)
def test_the_est_door_refuses(name: str, attacked: Server) -> None:
    data, status = EST_DOOR[name]
    answer = exchange(attacked, "https", data)
    assert status_of(answer) == status
    if status == 401:
        assert b"www-authenticate: basic " in answer.lower()
        assert answer.endswith(b"\r\n\r\n")
    assert_works(attacked)


def test_a_request_with_controls_in_its_names_is_refused(attacked: Server) -> None:
    credential = attacked.credential("device", "CN=gate-1", "dns:gate-1.example.mn")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, EVIL)])
    reply = attacked.enroll(credential, csr_for(new_key(), name))
    assert reply.status in (200, 400)
    if reply.status == 200:
        assert reply.certificate().subject.rfc4514_string() == "CN=gate-1"
    else:
        assert reply.body.decode().strip().isprintable()


def test_a_signature_that_is_not_the_key_s_is_refused(attacked: Server) -> None:
    credential = attacked.credential("device", "CN=gate-1", "dns:gate-1.example.mn")
    der = bytearray(csr_for(new_key()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    authorization = basic(credential.userpass.encode())
    request = http_request(
        "POST",
        f"{EST}/simpleenroll",
        base64.b64encode(der),
        "Content-Type: application/pkcs10",
        authorization,
    )
    assert status_of(exchange(attacked, "https", request)) == 400
    assert attacked.enroll(credential, csr_for(new_key())).status == 200


@pytest.mark.parametrize(
    "hello", [GARBAGE, b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(100)], ids=range(4)
)
def test_what_is_no_tls_is_dropped(hello: bytes, attacked: Server) -> None:
    with socket.create_connection(("127.0.0.1", attacked.port("https")), timeout=PATIENCE_S) as connection:
        connection.sendall(hello)
        connection.shutdown(socket.SHUT_WR)
        assert not rest(connection).startswith(b"HTTP")
    assert_works(attacked)


@pytest.mark.parametrize(
    ("door", "request_bytes"),
    [
        ("http", b"GET /ocs"),
        ("http", http_request("POST", "/ocsp", b"\x30\x10", OCSP_TYPE, length=64)),
        ("https", b"POST /.well-known"),
        ("https", est_request(b"MIIB", length=400)),
    ],
)
def test_half_a_request_and_half_a_connection(door: str, request_bytes: bytes, attacked: Server) -> None:
    answer = exchange(attacked, door, request_bytes, half_close=True)
    assert status_of(answer) in (0, 400)
    assert_works(attacked)


def test_a_whole_request_and_half_a_connection(attacked: Server) -> None:
    body = ocsp_request(attacked.ca("infrastructure"), 1234)
    answer = exchange(attacked, "http", http_request("POST", "/ocsp", body, OCSP_TYPE), half_close=True)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_clients_that_vanish_or_dawdle_hinder_nobody(attacked: Server) -> None:
    dawdlers = []
    for door, beginning in (("http", b"GET /ocsp HT"), ("https", est_request(b"MIIB", length=400))):
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", attacked.port(door)), timeout=PATIENCE_S)
            if door == "https":
                connection = attacked.tls().wrap_socket(connection, server_hostname="127.0.0.1")
            connection.sendall(beginning)
            dawdlers.append(connection)
    silent = [socket.create_connection(("127.0.0.1", attacked.port("https"))) for _ in range(20)]
    assert_works(attacked)
    certificate = attacked.device(new_key())
    attacked.shows(certificate, "good")
    for connection in (*dawdlers, *silent):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset
        connection.close()
    assert_works(attacked)


@pytest.mark.long
@pytest.mark.parametrize(("door", "beginning"), [("http", b"GET /oc"), ("https", b"GET /.well")])
def test_dawdlers_are_cut_off(door: str, beginning: bytes, attacked: Server) -> None:
    with connected(attacked, door) as connection:
        connection.sendall(beginning)
        assert status_of(rest(connection)) in (0, 408)
    assert_works(attacked)


def test_a_guesser_has_to_wait(home: Path) -> None:
    """Wrong secrets make wait, then lock a credential; and an address that is often refused waits."""
    configuration = home / "pkiserver.toml"
    text = configuration.read_text()
    configuration.write_text(text.replace("max_attempts = 10", "max_attempts = 3"))
    with running(home) as server:
        credential = server.credential("device", "CN=gate-1", "dns:gate-1.example.mn")
        for guess in range(3):
            reply = server.enroll(Credential(credential.reference, f"guess-{guess}"), csr_for(new_key()))
            assert (reply.status, reply.body) == (401, b"")
        eventually(lambda: server.enroll(credential, csr_for(new_key())).status == 401, "the wait to be over")
        (listed,) = server.command("credential.list")
        assert listed["state"] == "locked"
        assert server.metric('pkiserver_credential_failures_total{outcome="locked"}') == 1
        other = server.credential("device", "CN=gate-2", "dns:gate-2.example.mn")
        csr, context = csr_for(new_key()), server.tls()
        guesses = [Credential(f"unknown-{number}", "x") for number in range(32)]
        statuses = [server.enroll(guess, csr, context=context).status for guess in guesses]
        assert statuses == [401] * 26 + [503] * 6
        # Others behind the same address are served, if they know their secret.
        assert server.enroll(other, csr).status == 200
        assert_clean_log(server)
