"""A thousand connections of one address that dawdle leave the others served."""

import asyncio
import contextlib
import ssl

import pytest
from https_harness import Certificates, est_server, make_certificates
from raw_client import BODY, assert_serves, request

from pkiserver.web.limits import Limits

DAWDLERS = 1_000
ADDRESS = "127.0.0.2"  # another one than that of the clients that are served


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


async def _dawdle(port: int, tls: ssl.SSLContext | None, sent: bytes) -> None:
    """Hold a connection for as long as it is let, and come again when it was closed."""
    while True:
        with contextlib.suppress(OSError):
            name = "localhost" if tls else None
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(ADDRESS, 0), ssl=tls, server_hostname=name
            )
            try:
                writer.write(sent)
                await reader.read()
            finally:
                writer.transport.abort()
        await asyncio.sleep(1)


@pytest.mark.parametrize("kind", ["handshake", "header", "body"])
async def test_others_are_served_beside_a_thousand_dawdlers(certificates: Certificates, kind: str) -> None:
    """How fast, `python -m benchmarks est` measures."""
    limits = Limits(max_connections=256, drain_s=0.1)
    sent = {"handshake": b"\x16\x03\x01", "header": b"POST / HT", "body": request(BODY[:9], length=len(BODY))}
    tls = None if kind == "handshake" else certificates.client_context()
    async with est_server(certificates, limits) as server:
        dawdlers = [asyncio.create_task(_dawdle(server.port, tls, sent[kind])) for _ in range(DAWDLERS)]
        try:
            async with asyncio.timeout(30):
                while server.listener._held[ADDRESS] < limits.max_connections_per_address:  # noqa: ASYNC110 - see raw_client
                    await asyncio.sleep(0.01)
            for _ in range(10):
                await assert_serves(server)
            assert server.listener._held[ADDRESS] <= limits.max_connections_per_address
            assert b'connections_refused_total{listener="test"} 0.0' not in server.metrics.render()
        finally:
            for dawdler in dawdlers:
                dawdler.cancel()
            await asyncio.gather(*dawdlers, return_exceptions=True)
