"""Large files over raw connections: whole though replaced meanwhile, in order, and in bounded memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from public_folder import NOW, Folder, crl_until
from test_status_http import PATIENT_S, Client, Server, serving, until

from pkiserver.web.http1 import HTTPConnection
from pkiserver.web.http_limits import HTTPLimits
from pkiserver.web.public_files import CHECK_S

SIZE = 24 << 20  # more than the buffers of two sockets hold
OLD = crl_until(NOW.replace(year=2030), bytes(SIZE))
NEW = crl_until(NOW.replace(year=2031), bytes(SIZE))
GET = b"GET /crl/a.crl HTTP/1.1\r\nHost: h\r\n\r\n"


@asynccontextmanager
async def serving_files(
    path: Path, limits: HTTPLimits | None = None
) -> AsyncIterator[tuple[Folder, Server, Client]]:
    folder = Folder(path)
    folder.write("crl/a.crl", OLD)
    async with serving(limits, folder.files.handle) as (server, client):
        yield folder, server, client


def hold(client: Client) -> None:
    """Have a client read nothing."""
    client.writer.transport.pause_reading()  # type: ignore[attr-defined] # a read transport in fact


def release(client: Client) -> None:
    client.writer.transport.resume_reading()  # type: ignore[attr-defined] # as above


def test_a_file_replaced_while_it_is_sent_arrives_whole_as_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving_files(tmp_path) as (folder, server, slow):
            hold(slow)
            slow.send(GET)
            await until(lambda: server.outcomes().get("static", 0) == 1)
            folder.write("crl/a.crl", NEW)
            folder.elapsed += CHECK_S
            quick = await server.client()
            async with asyncio.timeout(PATIENT_S):
                while (await quick.ask(GET)).body != NEW:
                    folder.elapsed += CHECK_S
            release(slow)
            reply = await slow.reply()
            assert reply.body == OLD
            assert reply.fields["ETag"] == f'"{hashlib.sha256(OLD).hexdigest()}"'
            assert (await slow.ask(GET)).body == NEW

    uvloop.run(run())


def test_parts_and_wholes_of_one_connection_come_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving_files(tmp_path) as (_, _, client):
            part = GET[:-2] + b"Range: bytes=%d-%d\r\n\r\n"
            spans = [(0, 9), (SIZE // 2, SIZE // 2 + 100_000), (7, SIZE), (SIZE, SIZE + 3)]
            client.send(b"".join(part % span for span in spans) + GET + GET.replace(b"GET", b"HEAD") + GET)
            for first, last in spans:
                reply = await client.reply()
                assert (reply.status, reply.body) == (206, OLD[first : last + 1])
            assert (await client.reply()).body == OLD
            assert (await client.reply(head_only=True)).fields["Content-Length"] == str(len(OLD))
            assert (await client.reply()).body == OLD

    uvloop.run(run())


def test_what_slow_clients_wait_for_is_one_object(tmp_path: Path) -> None:
    """Were it copied for each of them, it would be gigabytes."""

    async def run() -> None:
        async with serving_files(tmp_path) as (_, server, first):
            clients = [first, *[await server.client() for _ in range(60)]]
            for client in clients:
                hold(client)
                client.send(GET)
            before = resident_mib()
            await until(lambda: server.outcomes().get("static", 0) == len(clients))
            assert all(connection._writer.unsent for connection in server.service.connections)
            # What the clients of this very process have taken is theirs, and little.
            assert resident_mib() - before < 8 * SIZE >> 20

    uvloop.run(run())


def resident_mib() -> int:
    """Return the memory of this process, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) >> 10


def test_a_client_that_takes_a_little_now_and_then_is_cut_too(tmp_path: Path) -> None:
    """And one that takes it at its leisure, but at the least rate, is not."""

    async def run() -> None:
        async with serving_files(tmp_path, HTTPLimits(write_rate=1 << 20)) as (_, server, client):
            hold(client)
            client.send(GET)
            await until(lambda: server.outcomes().get("static", 0) == 1)
            (connection,) = server.service.connections
            start = server.service.loop.time()
            connection.check_time(start)
            unsent = connection._writer.unsent
            for elapsed in (10, 19):  # `write_s` is free
                connection.check_time(start + elapsed)
                assert not connection._transport.is_closing()
            release(client)
            await until(lambda: unsent - connection._writer.unsent > 0)
            hold(client)
            await until_still(connection)
            taken = unsent - connection._writer.unsent
            assert taken > 0
            connection.check_time(start + 20 + taken / (1 << 20) - 0.5)
            assert not connection._transport.is_closing()
            connection.check_time(start + 20 + taken / (1 << 20) + 0.5)
            assert connection._transport.is_closing()

    uvloop.run(run())


async def until_still(connection: HTTPConnection) -> None:
    """Wait until nothing more is taken."""
    async with asyncio.timeout(PATIENT_S):
        while True:
            unsent = connection._writer.unsent
            await asyncio.sleep(0.1)
            if connection._writer.unsent == unsent:
                return


def test_a_client_that_reads_nothing_of_a_large_file_is_cut(tmp_path: Path) -> None:
    async def run() -> None:
        limits = HTTPLimits(write_s=0.05, idle_s=0.05)
        async with serving_files(tmp_path, limits) as (_, server, client):
            hold(client)
            client.send(GET)
            await until(lambda: server.outcomes().get("static", 0) == 1)

            def gone() -> bool:
                server.service.sweep()
                return not server.service.connections

            await until(gone)

    uvloop.run(run())
