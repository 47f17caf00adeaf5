"""Valid messages, changed at random: never a certificate, never an error that nobody expected."""

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from pkiserver.core import Core, open_core
from pkiserver.home import Home
from protocols.cmp.bodies import BodyType
from protocols.cmp.message import MalformedMessageError
from protocols.errors import TooLargeError
from store import certificates
from tests.cmp_messages import (
    ByMAC,
    Client,
    confirm_body,
    credential,
    holder,
    new_key,
    request_body,
    revocation_body,
)
from tests.ra.conftest import SetClock

ANSWERED_BY_NO_MESSAGE = (MalformedMessageError, TooLargeError)


async def messages(core: Core) -> list[bytes]:
    """Return one message of each kind that would change something."""
    by_mac, held = ByMAC(await credential(core)), await holder(core)
    begun = Client(core, by_mac)
    certificate = (await begun.ir(new_key())).certificate
    return [
        Client(core, ByMAC(await credential(core))).build(request_body(BodyType.IR, new_key())),
        Client(core, held).build(request_body(BodyType.KUR, new_key(), None)),
        Client(core, held).build(revocation_body(held.certificate)),
        begun.build(confirm_body(certificate)),
    ]


def changed(message: bytes, generator: random.Random) -> bytes:
    """Return a message with an octet changed, left out or put in, or its end cut off."""
    position, octet = generator.randrange(len(message)), generator.randrange(256)
    kind = generator.randrange(4)
    if kind == 0:
        return message[:position] + bytes((message[position] ^ (octet or 1),)) + message[position + 1 :]
    if kind == 1:
        return message[:position] + message[position + 1 :]
    if kind == 2:
        return message[:position] + bytes((octet,)) + message[position:]
    return message[:position]


async def facts(core: Core) -> list[tuple[int, str]]:
    """Return every certificate with its state."""
    now = core.clock.now()
    found = await core.storage.read(
        lambda tx: certificates.newest(tx, authorities=None, state=None, now=now, limit=1000)
    )
    return sorted((one.serial, one.state) for one in found)


async def attack(core: Core, count: int, seed: int) -> None:
    generator = random.Random(seed)
    originals = await messages(core)
    await core.cmp.answer(b"\x30\x05\x30\x03\x02\x01\x02", operation=None, profile=None, peer="192.0.2.9")
    before = await facts(core)
    for number in range(count):
        message = changed(generator.choice(originals), generator)
        if message in originals:
            continue
        peer = f"192.0.{number % 250}.{number // 250}"  # else the first minute's share is soon used up
        try:
            await core.cmp.answer(message, operation=None, profile=None, peer=peer)
        except ANSWERED_BY_NO_MESSAGE:
            continue
    assert await facts(core) == before


async def test_mutations_change_nothing(core: Core) -> None:
    await attack(core, 300, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 7))
def test_many_mutations_change_nothing(initialised_home: Path, tmp_path: Path, seed: int) -> None:
    async def run() -> None:
        home = Home(shutil.copytree(initialised_home, tmp_path / "home"))
        async with open_core(home, SetClock()) as core:
            await attack(core, 5_000, seed)

    asyncio.run(run())
