"""EST operations over a real TLS listener, driven by curl, against a fake enrolment service."""

import base64
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from https_harness import PEM, Certificates, Server, csr_der, est_server, make_certificates

from pkiserver.errors import (
    ConflictError,
    KeyRefusedError,
    NotAuthenticatedError,
    NotAuthorizedError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from pkiserver.ra.requester import Channel, Password, Requester
from protocols import oid
from protocols.est.csr_attributes import CsrAttrs
from protocols.x509.csr import parse_csr

CREDENTIAL = ("--user", "ref-1:s3cret:with-colon")
pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def server(certificates: Certificates) -> AsyncIterator[Server]:
    async with est_server(certificates) as server:
        yield server


def _client(certificates: Certificates) -> tuple[str | Path, ...]:
    client = certificates.client
    return "--cert", client.certificate_file, "--key", client.key_file


def _certificates_of(body: bytes) -> list[bytes]:
    assert b"\n" not in body
    signed_data = cms.ContentInfo.load(base64.b64decode(body, validate=True))["content"]
    return [certificate.chosen.dump() for certificate in signed_data["certificates"]]


CSR = csr_der()
BASE64 = base64.b64encode(CSR)
WRAPPED = "\r\n".join(textwrap.wrap(BASE64.decode(), 64)).encode() + b"\r\n"
AS_PEM = x509.load_der_x509_csr(CSR).public_bytes(PEM)
FORMS = pytest.mark.parametrize(
    "body", [BASE64, BASE64 + b"\n", WRAPPED, AS_PEM, CSR], ids=["line", "line-lf", "wrapped", "pem", "der"]
)


@FORMS
async def test_simpleenroll_takes_every_form(server: Server, body: bytes) -> None:
    reply = await server.curl("simpleenroll", *CREDENTIAL, body=body)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert reply.headers["content-transfer-encoding"] == "base64"
    assert reply.headers["server"] == "pkiserver"
    assert _certificates_of(reply.body) == [server.service.certificate]
    [(operation, arguments)] = server.service.calls
    assert operation == "enroll"
    assert arguments.pop("csr") == parse_csr(CSR)
    assert arguments.pop("requester") == Requester(
        "127.0.0.1", Channel("TLS 1.3"), Password("ref-1", "s3cret:with-colon")
    )
    assert arguments == {"label": None}
    assert server.service.taken == [server.service.certificate]
    assert server.service.refusals == []


@pytest.mark.parametrize("coding", ["base64", "binary", "7bit", "nonsense"])
async def test_rfc8951_3_content_transfer_encoding_is_ignored(server: Server, coding: str) -> None:
    header = ("-H", f"Content-Transfer-Encoding: {coding}")
    for body in (BASE64, CSR):
        assert (await server.curl("simpleenroll", *CREDENTIAL, *header, body=body)).status == 200


@FORMS
async def test_simplereenroll_takes_every_form(server: Server, body: bytes) -> None:
    reply = await server.curl("device/simplereenroll", *_client(server.certificates), body=body)
    assert (reply.status, _certificates_of(reply.body)) == (200, [server.service.certificate])
    [(operation, arguments)] = server.service.calls
    assert operation == "reenroll"
    assert server.service.requesters[0].certificate == server.certificates.client.der
    assert arguments["label"] == "device"
    assert server.service.taken == [server.service.certificate]


@pytest.mark.parametrize("tls", [["--tls-max", "1.2"], ["--tlsv1.3"]])
async def test_cacerts(server: Server, tls: list[str]) -> None:
    for operation in ("cacerts", "device/cacerts"):
        reply = await server.curl(operation, *tls)
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/pkcs7-mime"
        assert reply.headers["content-transfer-encoding"] == "base64"
        assert _certificates_of(reply.body) == [server.service.certificate]
    head = await server.curl("cacerts", "--head")
    assert (head.status, head.body, head.headers["content-type"]) == (200, b"", "application/pkcs7-mime")


async def test_cacerts_of_an_unknown_label(server: Server) -> None:
    reply = await server.curl("nowhere/cacerts")
    assert (reply.status, reply.body) == (404, b"no profile is named so\n")


async def test_csrattrs(server: Server) -> None:
    reply = await server.curl("device/csrattrs")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/csrattrs")
    assert reply.headers["content-transfer-encoding"] == "base64"
    assert CsrAttrs.parse(base64.b64decode(reply.body)).items == (oid.CHALLENGE_PASSWORD,)


async def test_csrattrs_with_nothing_to_say(server: Server) -> None:
    reply = await server.curl("csrattrs")
    assert (reply.status, reply.body) == (204, b"")


async def test_enrolment_without_credentials_is_challenged(server: Server) -> None:
    reply = await server.curl("simpleenroll", body=BASE64)
    assert (reply.status, reply.body) == (401, b"")
    assert reply.headers["www-authenticate"].startswith('Basic realm="')
    assert 'charset="UTF-8"' in reply.headers["www-authenticate"]
    assert reply.headers["content-length"] == "0"
    assert "content-type" not in reply.headers
    assert server.service.calls == []
    assert server.service.refusals == []  # a challenge, not a refusal


async def test_challenge_is_answered_by_curl(server: Server) -> None:
    challenge = await server.curl("simpleenroll", "--anyauth", *CREDENTIAL, body=BASE64)
    assert challenge.status == 401  # the first of two responses
    assert b"HTTP/1.1 200" in challenge.body
    assert server.service.taken == [server.service.certificate]


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic cmVm",  # no colon
        "Basic OnNlY3JldA",  # no padding
        "Basic /////w==",  # not UTF-8
        "Basic cmVmOgA=",  # control character
        "Basic " + "QUFB" * 500,
        "Bearer cmVmOnNlY3JldA==",
        'Digest username="x"',
    ],
)
async def test_malformed_credentials_are_challenged(server: Server, header: str) -> None:
    reply = await server.curl("simpleenroll", "-H", f"Authorization: {header}", body=BASE64)
    assert (reply.status, reply.body, server.service.calls) == (401, b"", [])
    assert "www-authenticate" in reply.headers
    assert (await server.curl("simpleenroll", *CREDENTIAL, body=BASE64)).status == 200


async def test_untrusted_client_certificate_ends_the_handshake(server: Server) -> None:
    stranger = server.certificates.stranger
    given = ("--cert", stranger.certificate_file, "--key", stranger.key_file)
    with pytest.raises(AssertionError, match="curl"):
        await server.curl("simplereenroll", *given, body=BASE64)
    assert (await server.curl("cacerts")).status == 200


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (NotAuthenticatedError("credential ref-1 is used up"), 401, b""),
        (NotAuthorizedError("not for this profile"), 403, b"not for this profile\n"),
        (NotFoundError("no profile is named so"), 404, b"no profile is named so\n"),
        (ConflictError("it is pending"), 409, b"it is pending\n"),
        (RefusedError("serialNumber is missing"), 400, b"serialNumber is missing\n"),
        (KeyRefusedError("RSA of 1024 bits"), 400, b"RSA of 1024 bits\n"),
        (UnavailableError("the disk is full"), 503, b"the disk is full\n"),
    ],
)
async def test_errors_of_the_service(server: Server, error: Exception, status: int, body: bytes) -> None:
    server.service.error = error
    reply = await server.curl("simpleenroll", *CREDENTIAL, body=BASE64)
    assert (reply.status, reply.body) == (status, body)
    assert ("retry-after" in reply.headers) == (status == 503)
    if body:
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert server.service.taken == []
    server.service.error = None
    assert (await server.curl("simpleenroll", *CREDENTIAL, body=BASE64)).status == 200


@pytest.mark.parametrize("kind", [ZeroDivisionError, ConnectionResetError, TimeoutError])
async def test_unexpected_error_is_answered_without_detail(server: Server, kind: type[Exception]) -> None:
    server.service.error = kind("at /srv/secret.py")
    reply = await server.curl("simpleenroll", *CREDENTIAL, body=BASE64)
    assert reply.status == 500
    assert reply.body.startswith(b"internal error; request ")
    assert b"secret.py" not in reply.body


async def test_error_after_the_response_leaves_the_response(server: Server) -> None:
    async def failing(certificate: bytes) -> None:
        raise ZeroDivisionError

    server.service.delivered = failing  # type: ignore[method-assign]  # the one that fails
    reply = await server.curl("simpleenroll", *CREDENTIAL, body=BASE64)
    assert (reply.status, _certificates_of(reply.body)) == (200, [server.service.certificate])


@pytest.mark.parametrize(
    ("operation", "arguments", "body", "status"),
    [
        ("simpleenroll", [], b"", 400),
        ("simpleenroll", [], b"not base64 at all!", 400),
        ("simpleenroll", [], BASE64[:-40], 400),
        ("simpleenroll", [], CSR[:-1] + bytes([CSR[-1] ^ 1]), 400),  # the signature does not verify
        ("simpleenroll", [], b"A" * 70_000, 413),
        ("simpleenroll", ["-H", "Transfer-Encoding: chunked"], b"A" * 70_000, 413),
        ("simpleenroll", [], b"A" * 40_000, 413),
        ("simpleenroll", ["-H", "Content-Encoding: gzip"], BASE64, 415),
        ("simpleenroll", ["-H", "Expect: something"], BASE64, 417),
        ("simpleenroll", ["-X", "PUT"], BASE64, 405),
        ("simplereenroll", ["-X", "DELETE"], BASE64, 405),
        ("cacerts", [], BASE64, 405),
        ("nothing", [], BASE64, 404),
        ("a/b/simpleenroll", [], BASE64, 404),
        ("../../etc/passwd", ["--path-as-is"], BASE64, 404),
        ("%0d%0aX/simpleenroll", [], BASE64, 404),
        ("simpleenroll/", [], BASE64, 404),
    ],
)
async def test_bad_requests_then_a_good_one(
    server: Server, operation: str, arguments: list[str], body: bytes, status: int
) -> None:
    reply = await server.curl(operation, *CREDENTIAL, *arguments, body=body)
    assert reply.status == status
    assert len(reply.body) < 300
    if status == 405:
        assert reply.headers["allow"] in ("POST", "GET, HEAD")
    assert server.service.calls == []
    assert (await server.curl("simpleenroll", *CREDENTIAL, body=BASE64)).status == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/pkcs7-mime", "x", ""])
async def test_other_content_types_are_refused_and_audited(server: Server, content_type: str) -> None:
    reply = await server.curl("simpleenroll", *CREDENTIAL, body=BASE64, content_type=content_type)
    assert (reply.status, reply.body) == (415, b"the content type must be application/pkcs10\n")
    assert server.service.refusals == [("enroll", "the content type must be application/pkcs10")]
    assert (await server.curl("simpleenroll", *CREDENTIAL, body=BASE64)).status == 200
