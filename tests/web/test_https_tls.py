"""TLS of the listener: versions, suites, client certificates, resumption, reload, unusable files."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from https_harness import Certificates, Server, est_server, issue, make_certificates, parse_reply
from raw_client import WAIT_S, assert_serves, connected, request, tls_connected

from pkiserver.web.tls import TLSSettings, TLSSetupError, tls_context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


async def test_reload_keeps_connections(certificates: Certificates, tmp_path: Path) -> None:
    newer = issue(tmp_path, "newer", certificates.ca, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    async with est_server(certificates) as server, tls_connected(server) as old:
        await old.send(request())
        await old.reply()
        server.listener.reload_tls(tls_context(TLSSettings(newer.certificate_file, newer.key_file)))
        await old.send(request())
        assert parse_reply(await old.reply()).status == 200
        async with tls_connected(server) as fresh:
            shown = fresh.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert shown == newer.der


def test_rfc8446_4_6_1_one_session_ticket_a_connection(certificates: Certificates) -> None:
    shown = certificates.server
    assert tls_context(TLSSettings(shown.certificate_file, shown.key_file)).num_tickets == 1


def _ask_on_a_resumed_session(server: Server, version: ssl.TLSVersion) -> list[int]:
    """Re-enrol on two connections, the second of which resumes the first one's session."""
    context = server.certificates.client_context(server.certificates.client)
    context.maximum_version = version
    session, statuses = None, []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", server.port), WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
        ):
            assert tls.session_reused == (session is not None)
            tls.sendall(request().replace(b"simpleenroll", b"simplereenroll"))
            statuses.append(parse_reply(tls.recv(65_536)).status)
            session = tls.session
    return statuses


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_resumption_does_not_skip_the_service(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    async with est_server(certificates) as server:
        assert await asyncio.to_thread(_ask_on_a_resumed_session, server, version) == [200, 200]
        assert [one.certificate for one in server.service.requesters] == [certificates.client.der] * 2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "suites", "accepted"),
    [
        (ssl.TLSVersion.TLSv1_3, None, True),
        (ssl.TLSVersion.TLSv1_2, None, True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+CHACHA20", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AES+SHA", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESCCM", False),
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
    ],
)
async def test_tls_versions_and_suites(
    certificates: Certificates, version: ssl.TLSVersion, suites: str | None, accepted: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca.certificate_file)
    if suites:
        context.set_ciphers(suites)
    context.minimum_version = context.maximum_version = version
    async with est_server(certificates) as server:
        with contextlib.nullcontext() if accepted else pytest.raises((ssl.SSLError, ConnectionError)):
            async with connected(server.port, context) as client:
                await client.send(request())
                assert parse_reply(await client.reply()).status == 200
        await assert_serves(server)


def test_only_aead_suites_with_forward_secrecy(certificates: Certificates) -> None:
    context = tls_context(certificates.settings())
    for suite in context.get_ciphers():
        assert suite["aead"]
        assert suite["protocol"] == "TLSv1.3" or "ECDHE" in suite["name"]
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.verify_mode == ssl.CERT_OPTIONAL


def test_unusable_tls_files_are_named(certificates: Certificates) -> None:
    settings = certificates.settings()
    missing = settings.certificate_file.with_name("missing.pem")
    for broken in (
        TLSSettings(missing, settings.key_file),
        TLSSettings(settings.certificate_file, certificates.client.key_file),
        TLSSettings(settings.certificate_file, settings.key_file, client_cas=[b"\x30\x03"]),
    ):
        with pytest.raises(TLSSetupError, match=r"\.pem with key"):
            tls_context(broken)


async def test_reload_takes_other_client_cas(certificates: Certificates, tmp_path: Path) -> None:
    """A connection that is open keeps its client; the next one needs a CA of the new list."""
    other = make_certificates(tmp_path)
    sent = request().replace(b"simpleenroll", b"simplereenroll")
    client = certificates.client_context(certificates.client)
    async with est_server(certificates) as server, connected(server.port, client) as kept:
        files = (certificates.server.certificate_file, certificates.server.key_file)
        server.listener.reload_tls(tls_context(TLSSettings(*files, client_cas=[other.ca.der])))
        await kept.send(sent)
        assert parse_reply(await kept.reply()).status == 200
        stranger = certificates.client_context(other.client)
        async with connected(server.port, stranger) as fresh:
            await fresh.send(sent)
            assert parse_reply(await fresh.reply()).status == 200
        refused = certificates.client_context(certificates.client)
        refused.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with connected(server.port, refused):
                pass
        assert [one.certificate for one in server.service.requesters] == [
            certificates.client.der,
            other.client.der,
        ]
