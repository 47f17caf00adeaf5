"""EST behind a load balancer: Client-Cert (RFC 9440) and X-Forwarded-For, from trusted proxies and others."""

import base64
import ipaddress
from collections.abc import AsyncIterator

import pytest
from https_harness import Certificates, Server, csr_der, est_server, make_certificates, parse_reply
from raw_client import connected, request, until_no_connection

from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.requester import Password
from pkiserver.web.est_messages import PROXIED
from pkiserver.web.limits import Limits
from pkiserver.web.proxies import MAX_FORWARDED_FOR_CHARACTERS, TrustedProxies

PROXIES = TrustedProxies((ipaddress.ip_network("10.1.0.0/24"), ipaddress.ip_network("2001:db8::/48")))
LOOPBACK = TrustedProxies((ipaddress.ip_network("127.0.0.1"),))
BODY = base64.b64encode(csr_der())
pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def behind(certificates: Certificates) -> AsyncIterator[Server]:
    """A server that takes this host for its proxy."""
    async with est_server(certificates, proxies=LOOPBACK) as server:
        yield server


@pytest.fixture
async def direct(certificates: Certificates) -> AsyncIterator[Server]:
    async with est_server(certificates) as server:
        yield server


def client_cert(der: bytes) -> tuple[str, str]:
    return "-H", f"Client-Cert: :{base64.b64encode(der).decode()}:"


def own_certificate(certificates: Certificates) -> tuple[str, ...]:
    client = certificates.client
    return "--cert", str(client.certificate_file), "--key", str(client.key_file)


async def test_rfc9440_2_2_the_certificate_of_the_header(behind: Server) -> None:
    stranger = behind.certificates.stranger.der  # whose it is, is for the service to say
    reply = await behind.curl("simplereenroll", *client_cert(stranger), body=BODY)
    assert reply.status == 200
    [requester] = behind.service.requesters
    assert requester.certificate == stranger
    assert requester.channel == PROXIED
    assert requester.channel.tls_unique is None


async def test_rfc9440_2_3_the_chain_is_passed_over(behind: Server) -> None:
    chain = ("-H", "Client-Cert-Chain: :MAMCAQc=:, nonsense")
    reply = await behind.curl(
        "simplereenroll", *client_cert(behind.certificates.client.der), *chain, body=BODY
    )
    assert reply.status == 200
    long = ("-H", "Client-Cert-Chain: " + ":MAMCAQc=:, " * 1_000)
    assert (await behind.curl("simplereenroll", *long, body=BODY)).status == 431


async def test_the_proxy_s_own_certificate_is_not_its_clients(behind: Server) -> None:
    own = own_certificate(behind.certificates)
    await behind.curl("simpleenroll", *own, "-u", "ref:secret", body=BODY)
    await behind.curl("simplereenroll", *own, *client_cert(behind.certificates.stranger.der), body=BODY)
    assert [one.certificate for one in behind.service.requesters] == [
        None,
        behind.certificates.stranger.der,
    ]
    assert behind.service.requesters[0].password == Password("ref", "secret")


@pytest.mark.parametrize("with_certificate", [False, True])
async def test_rfc9440_4_the_header_of_others_is_refused(direct: Server, with_certificate: bool) -> None:
    """Also beside a TLS certificate, and beside a good credential."""
    own = own_certificate(direct.certificates) if with_certificate else ()
    header = client_cert(direct.certificates.client.der)
    for operation, more in (("simpleenroll", ("-u", "ref:secret")), ("simplereenroll", ())):
        reply = await direct.curl(operation, *own, *header, *more, body=BODY)
        assert reply.status == 403
        assert b"Client-Cert is taken from trusted proxies alone (est.trusted_proxies)" in reply.body
    assert direct.service.calls == []
    assert [operation for operation, _ in direct.service.refusals] == ["enroll", "reenroll"]


@pytest.mark.parametrize("value", ["", "MAMCAQc=", ":MAMCAQ:", ":MAMCAQc=:, :MAMCAQc=:", ":%:"])
async def test_a_malformed_header_of_a_proxy_is_refused(behind: Server, value: str) -> None:
    reply = await behind.curl(
        "simplereenroll", "-H", f"Client-Cert;{value}" if not value else f"Client-Cert: {value}", body=BODY
    )
    assert reply.status == 400
    assert b"Client-Cert" in reply.body
    assert behind.service.calls == []
    assert len(behind.service.refusals) == 1


async def test_the_client_s_address_is_the_proxy_s_word(behind: Server, direct: Server) -> None:
    forwarded = ("-H", "X-Forwarded-For: 198.51.100.9, 192.0.2.7")
    for server, address in ((behind, "192.0.2.7"), (direct, "127.0.0.1")):
        await server.curl("simpleenroll", *forwarded, "-u", "ref:secret", body=BODY)
        await server.curl("simpleenroll", *forwarded, "-u", "ref:secret", body=b"nonsense")
        assert [one.peer for one in server.service.requesters] == [address]
        assert server.service.peers == [address]


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "client"),
    [
        ("10.1.0.9", [], "10.1.0.9"),
        ("10.1.0.9", ["192.0.2.7"], "192.0.2.7"),
        ("10.1.0.9", ["198.51.100.9, 192.0.2.7"], "192.0.2.7"),  # the first may be made up
        ("10.1.0.9", ["198.51.100.9", "192.0.2.7"], "192.0.2.7"),
        ("10.1.0.9", ["192.0.2.7, 10.1.0.8"], "192.0.2.7"),  # two of our proxies
        ("10.1.0.9", ["10.1.0.7, 10.1.0.8"], "10.1.0.7"),
        ("10.1.0.9", ["192.0.2.7, unknown"], "10.1.0.9"),
        ("10.1.0.9", ["192.0.2.7:4711"], "10.1.0.9"),
        ("10.1.0.9", [""], "10.1.0.9"),
        ("10.1.0.9", ["192.0.2.7," * MAX_FORWARDED_FOR_CHARACTERS], "10.1.0.9"),
        ("::ffff:10.1.0.9", ["192.0.2.7"], "192.0.2.7"),
        ("2001:db8::1", ["2001:DB8:1::7"], "2001:db8:1::7"),
        ("10.2.0.9", ["192.0.2.7"], "10.2.0.9"),
        ("unknown", ["192.0.2.7"], "unknown"),
    ],
)
def test_whose_address_counts(remote: str, forwarded_for: list[str], client: str) -> None:
    assert PROXIES.client_address(remote, forwarded_for) == client


def test_without_configuration_nobody_is_trusted() -> None:
    nobody = TrustedProxies()
    assert not nobody.trusts("127.0.0.1")
    assert nobody.client_address("10.1.0.9", ["192.0.2.7"]) == "10.1.0.9"
    assert nobody.client_certificate("10.1.0.9", [], b"own") == b"own"
    with pytest.raises(NotAuthorizedError):
        nobody.client_certificate("10.1.0.9", [":MAMCAQc=:"], None)


async def test_a_proxy_is_not_held_to_the_connections_of_one_address(certificates: Certificates) -> None:
    limits = Limits(max_connections_per_address=1, drain_s=2.0)
    async with est_server(certificates, limits, LOOPBACK) as server:
        context = certificates.client_context()
        async with connected(server.port, context), connected(server.port, context) as second:
            await second.send(request())
            assert parse_reply(await second.reply()).status == 200
        await until_no_connection(server.listener)
