"""Whole applications over the API and EST on loopback, in a process of its own.

It says `ready` when every counter has its connections, waits for a line, and prints one JSON object.
"""

import argparse
import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from benchmarks.search_store import civil_id, register_number
from pkiserver.web.api.operations import BASE

EST = "/.well-known/est/simpleenroll"
DELIVERY = {
    "acknowledged": ["legal_effect", "conditions_of_use", "confidentiality", "liability"],
    "text_version": "2026-1",
}


def form(number: int) -> dict[str, Any]:
    """Return the form of a citizen."""
    born = register_number(number)[2:8]
    return {
        "aimag": "Улаанбаатар",
        "district": "Сүхбаатар",
        "register_number": register_number(number),
        "civil_id": civil_id(number),
        "birth_date": f"19{born[:2]}-{born[2:4]}-{born[4:]}",
        "parent_name": "Бат",
        "given_name": "Дорж",
        "address": "1-р хороо 5-12",
        "phone": "99112233",
        "mail": f"person-{number}@example.mn",
        "use_restricted": False,
        "value_limited": True,
        "limit_mnt": 5_000_000,
    }


class Counter:
    """One counter: takes applications from the form to the hand-over, over two connections."""

    def __init__(self, api: aiohttp.ClientSession, est: aiohttp.ClientSession) -> None:
        self._api = api
        self._est = est

    async def post(self, path: str, body: object, seen: str | None = None) -> tuple[dict[str, Any], str]:
        headers = {} if seen is None else {"If-Match": seen}
        async with self._api.post(BASE + path, json=body, headers=headers) as response:
            answer = await response.json()
            if response.status != 200:
                raise RuntimeError(f"{path}: {response.status} {answer}")
            return answer, response.headers.get("ETag", "")

    async def whole(self, number: int, csr: bytes) -> None:
        """Take one from the form to the hand-over; each answer is an acknowledgement of what is on disk."""
        made, seen = await self.post("/applications", {"office": "ub-1", "form": form(number)})
        path = f"/applications/{made['application']}"
        verified, seen = await self.post(
            f"{path}/verify", {"proof": "fingerprint", "text": f"check-{number}"}, seen
        )
        if verified["state"] != "verified":
            raise RuntimeError(f"application {number} was not verified")
        credential, _ = await self.post(f"{path}/issue", {"use": "est"}, seen)
        await self.enrol(credential, csr)
        # Its certificate made one more event of it, which the server was told of before it answered.
        seen = f'"{credential["version"] + 1}"'
        _, seen = await self.post(f"{path}/sign-off", {"ground": "stamp 12"}, seen)
        delivered, _ = await self.post(f"{path}/deliver", DELIVERY, seen)
        if delivered["state"] != "delivered":
            raise RuntimeError(f"application {number} was not delivered")

    async def enrol(self, credential: dict[str, Any], csr: bytes) -> None:
        """Fetch the certificate with the credential of an application."""
        login = aiohttp.encode_basic_auth(credential["reference"], credential["secret"])
        headers = {"Content-Type": "application/pkcs10", "Authorization": login}
        async with self._est.post(EST, data=csr, headers=headers) as response:
            if response.status != 200:
                raise RuntimeError(f"simpleenroll: {response.status} {await response.text()}")
            await response.read()


async def counter(url: str, folder: Path, work: Iterator[tuple[int, bytes]], begin: "Begin") -> int:
    """Connect, wait, and take applications until the time is over; return how many."""
    trusted = ssl.create_default_context(cafile=folder / "root.pem")
    known = ssl.create_default_context(cafile=folder / "root.pem")
    known.load_cert_chain(folder / "registrar.pem")
    done = 0
    async with (
        aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=known)) as api,
        aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=trusted)) as est,
    ):
        for session in (api, est):
            async with session.get("/api/openapi.json") as response:
                await response.read()
        ends_at = await begin.wait()
        while time.monotonic() < ends_at and (item := next(work, None)) is not None:
            await Counter(api, est).whole(*item)
            done += 1
    return done


class Begin:
    """Where the counters wait for each other, and then for whoever measures."""

    def __init__(self, counters: int, seconds: float) -> None:
        self._barrier = asyncio.Barrier(counters + 1)
        self._seconds = seconds
        self._go = asyncio.Event()
        self.at = 0.0

    async def wait(self) -> float:
        """Return when the time is over, once it has begun."""
        await self._barrier.wait()
        await self._go.wait()
        return self.at + self._seconds

    async def lead(self) -> None:
        """Begin when all wait and a line has come."""
        await self._barrier.wait()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        self.at = time.monotonic()
        self._go.set()


async def main(folder: Path, port: int, clients: int, seconds: float, first: int) -> None:
    """Run the counters beside each other."""
    lines = (folder / "csrs").read_bytes().splitlines()
    work = ((number, lines[number]) for number in range(first, len(lines)))
    begin = Begin(clients, seconds)
    counters = [counter(f"https://localhost:{port}", folder, work, begin) for _ in range(clients)]
    _, *done = await asyncio.gather(begin.lead(), *counters)
    print(json.dumps({"done": sum(done), "seconds": time.monotonic() - begin.at}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--first", type=int, default=1)
    given = parser.parse_args()
    uvloop.run(main(given.folder, given.port, given.clients, given.seconds, given.first))
