"""A client of bare TLS or TCP, for requests that no HTTP library would send."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator

from https_harness import Server, csr_der, parse_reply

from pkiserver.web.https import Listener

BODY = base64.b64encode(csr_der())
AUTHORIZATION = "Authorization: Basic " + base64.b64encode(b"ref:secret").decode()
WAIT_S = 15  # of a test for what the server should have done long before


def request(body: bytes = BODY, *headers: str, length: int | None = None) -> bytes:
    head = [
        "POST /.well-known/est/simpleenroll HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/pkcs10",
        AUTHORIZATION,
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Client:
    """A raw TLS (or plain TCP) client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Return all that comes until the server closes."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except (ConnectionError, ssl.SSLError):
                return b""

    async def reply(self) -> bytes:
        """Return one response, whose length the server states."""
        async with asyncio.timeout(WAIT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(parse_reply(head).headers["content-length"])
            return head + await self.reader.readexactly(length)


@contextlib.asynccontextmanager
async def connected(port: int, tls: ssl.SSLContext | None) -> AsyncIterator[Client]:
    name = "localhost" if tls else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def tls_connected(server: Server) -> contextlib.AbstractAsyncContextManager[Client]:
    return connected(server.port, server.certificates.client_context())


async def assert_serves(server: Server) -> None:
    async with asyncio.timeout(WAIT_S), tls_connected(server) as client:
        await client.send(request())
        assert parse_reply(await client.reply()).status == 200


async def until_no_connection(listener: Listener) -> None:
    async with asyncio.timeout(WAIT_S):
        while listener.connections:  # noqa: ASYNC110 - the listener signals no event, nor needs to
            await asyncio.sleep(0.01)
