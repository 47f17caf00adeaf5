"""What clients in use need, one test each."""

import base64
import ssl
import textwrap
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from https_harness import Certificates, Server, csr_der, est_server, make_certificates, parse_reply
from raw_client import connected, request

from pkiserver.errors import NotAuthenticatedError, PendingError
from pkiserver.ra.requester import Channel

BODY = base64.b64encode(csr_der())
CREDENTIAL = ("--user", "ref:secret")
pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def server(certificates: Certificates) -> AsyncIterator[Server]:
    async with est_server(certificates) as server:
        yield server


async def _bodies(server: Server, user_agent: str) -> list[str]:
    agent = ("-A", user_agent)
    replies = [
        await server.curl("cacerts", *agent),
        await server.curl("simpleenroll", *agent, *CREDENTIAL, body=BODY),
    ]
    return [reply.body.decode() for reply in replies]


async def test_libest_gets_wrapped_base64(server: Server) -> None:
    for body in await _bodies(server, "libest 3.2.0-p"):
        joined = body.replace("\n", "")
        assert base64.b64decode(joined, validate=True)
        assert body == "".join(f"{line}\n" for line in textwrap.wrap(joined, 64))
        assert body.count("\n") > 1


@pytest.mark.parametrize("user_agent", ["strongSwan/5.9.8", "curl/8 libest", "LIBEST", ""])
async def test_strongswan_before_5_9_11_gets_one_line(server: Server, user_agent: str) -> None:
    for body in await _bodies(server, user_agent):
        assert "\n" not in body
        assert base64.b64decode(body, validate=True)


async def test_bouncy_castle_finds_content_transfer_encoding(server: Server) -> None:
    for reply in (
        await server.curl("cacerts"),
        await server.curl("simpleenroll", *CREDENTIAL, body=BODY),
    ):
        assert reply.headers["content-transfer-encoding"] == "base64"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotAuthenticatedError("used up"), 401),
        (PendingError("a registrar decides", timedelta(minutes=5)), 202),
    ],
)
async def test_bouncy_castle_gets_no_body_with_401_and_202(
    server: Server, error: Exception, status: int
) -> None:
    server.service.error = error
    reply = await server.curl("simpleenroll", *CREDENTIAL, body=BODY)
    assert (reply.status, reply.body, reply.headers["content-length"]) == (status, b"", "0")
    assert "content-type" not in reply.headers
    assert reply.headers.get("retry-after") == ("300" if status == 202 else None)
    assert server.service.taken == []


async def test_cacerts_has_a_content_type_without_parameters(server: Server) -> None:
    assert (await server.curl("cacerts")).headers["content-type"] == "application/pkcs7-mime"


async def test_strongswan_posts_simplereenroll_with_whichever_certificate(server: Server) -> None:
    """It may be a manufacturer's, with a credential beside it: the service is told of both."""
    client = server.certificates.client
    given = ("--cert", client.certificate_file, "--key", client.key_file)
    assert (await server.curl("simplereenroll", *given, *CREDENTIAL, body=BODY)).status == 200
    [requester] = server.service.requesters
    assert requester.certificate == client.der
    assert requester.password is not None


async def test_a_challenge_only_where_a_password_helps(server: Server) -> None:
    assert (await server.curl("simpleenroll", body=BODY)).status == 401
    refused = await server.curl("idevid/simpleenroll", body=BODY)
    assert (refused.status, "www-authenticate" in refused.headers) == (403, False)
    assert b"enrolled with a client certificate alone" in refused.body
    assert [operation for operation, _ in server.service.refusals] == ["enroll"]


async def _channel(server: Server, context: ssl.SSLContext) -> tuple[Channel, bytes | None]:
    """Enrol, and return the channel that the server saw and the tls-unique that the client has."""
    async with connected(server.port, context) as client:
        binding = client.writer.get_extra_info("ssl_object").get_channel_binding("tls-unique")
        await client.send(request())
        assert parse_reply(await client.reply()).status == 200
    return server.service.requesters[-1].channel, binding


async def test_tls_unique_is_told_of_on_tls_1_2_alone(server: Server) -> None:
    context = server.certificates.client_context()
    assert (await _channel(server, context))[0] == Channel("TLS 1.3")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    channel, binding = await _channel(server, context)
    assert channel == Channel("TLS 1.2", binding)
    assert binding is not None
    assert len(binding) == 12  # RFC 5929 §3.1: the first Finished message
