"""A start on a full disk: status answers at once, issuing waits for room and then goes on by itself."""

import asyncio
import os
import shutil
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from status_plane import SHA1, issuer_hashes

from pkiserver.app import Server, running_server
from pkiserver.clock import Clock
from pkiserver.home import Home
from store import facts

SIZE_MIB = 16
PATIENCE_S = 60
LISTEN = {door: ["127.0.0.1:0"] for door in ("http", "https", "metrics")}


@pytest.fixture
def small_home(initialised_home: Path, small_disk: Path) -> Home:
    """A home on a file system of its own, which is soon full; issuing asks for no room in advance."""
    home = Home(shutil.copytree(initialised_home, small_disk / "home"))
    text = home.configuration.read_text()
    assert 'min_free = "64MiB"' in text
    home.configuration.write_text(text.replace('min_free = "64MiB"', 'min_free = "0KiB"'))
    return home


def fill(disk: Path) -> Path:
    """Write a file until not a byte more goes in."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    assert os.statvfs(disk).f_bavail == 0
    return ballast


async def status_of_infrastructure(server: Server) -> str:
    """Ask over HTTP for the status of the authority's own certificate, which root issued."""
    authorities = server.core.authorities
    parts = issuer_hashes(authorities.get("root").certificate, SHA1)
    serial = authorities.get("infrastructure").certificate.serial_number
    request = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*parts, serial, SHA1).build()
    host, port = server.addresses.http[0]

    def ask() -> bytes:
        post = urllib.request.Request(
            f"http://{host}:{port}/ocsp",
            request.public_bytes(Encoding.DER),
            {"Content-Type": "application/ocsp-request"},
        )
        with urllib.request.urlopen(post, timeout=PATIENCE_S) as answer:
            return bytes(answer.read())

    response = ocsp.load_der_ocsp_response(await asyncio.to_thread(ask))
    return next(iter(response.responses)).certificate_status.name


async def test_status_answers_and_work_goes_on_when_there_is_room(small_home: Home) -> None:
    async with running_server(small_home, Clock(), LISTEN) as server:
        assert await status_of_infrastructure(server) == "GOOD"
    ballast = fill(small_home.path.parent)
    async with running_server(small_home, Clock(), LISTEN) as server:
        assert await status_of_infrastructure(server) == "GOOD"
        with pytest.raises(Exception, match="nothing can be stored now"):
            await server.core.storage.write(lambda tx: facts.put(tx, "big", "x" * 100_000))
        assert not next(cause for cause in server.causes() if cause.name == "storage").ok
        ballast.unlink()
        async with asyncio.timeout(PATIENCE_S):
            while not all(cause.ok for cause in server.causes()):  # noqa: ASYNC110 - a state of the server
                await asyncio.sleep(0.05)
        assert await status_of_infrastructure(server) == "GOOD"
        await server.core.storage.write(lambda tx: facts.put(tx, "big", "x" * 100_000))
