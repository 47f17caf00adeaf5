"""Valid messages, changed at random and protected anew by who sent them: what lies behind protection holds.

`test_cmp_mutations` changes them after they were protected, which hardly anything survives.
"""

import asyncio
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from pkiserver.core import Core, open_core
from pkiserver.home import Home
from protocols import oid
from protocols.asn1 import der
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.general import build_general_message
from protocols.cmp.info_type import InfoTypeAndValue
from protocols.cmp.mac import MACKey
from protocols.cmp.message import MalformedMessageError, PKIMessage, finish_message, parse_pki_message
from protocols.cmp.polling import build_poll_req
from protocols.cmp.protection import verify_mac
from protocols.cmp.status import PKIFailureInfo
from protocols.errors import TooLargeError
from store import certificates
from store.records import CertificateRecord
from tests.cmp_messages import (
    Answer,
    ByMAC,
    BySignature,
    Client,
    Key,
    confirm_body,
    credential,
    holder,
    new_key,
    request_body,
    require_standard,
    revocation_body,
)
from tests.ra.conftest import SetClock

MAX_ANSWER_BYTES = 32 * 1024  # a certificate, its chain and that of the signer are some 6 KiB
EXTREMES = (b"\0", b"\x7f", b"\x80", b"\xff", b"\x30\x80", b"\x84\xff\xff\xff\xff", bytes(64), b"\xff" * 64)


@dataclass
class Victim:
    """Who sends, by a secret and by a certificate; nothing but its own may come of what it sends."""

    core: Core
    by_mac: ByMAC
    held: BySignature
    key: Key = field(default_factory=new_key)

    def messages(self) -> list[bytes]:
        """Return one message of each kind, each of a transaction of its own."""
        asked = PKIBody(BodyType.GENM, build_general_message([InfoTypeAndValue(oid.IT_CA_CERTS)]))
        certificate = self.held.certificate
        return [
            Client(self.core, self.by_mac).build(request_body(BodyType.IR, self.key)),
            Client(self.core, self.by_mac).build(asked),
            Client(self.core, self.by_mac).build(confirm_body(certificate)),
            Client(self.core, self.by_mac).build(PKIBody(BodyType.POLL_REQ, build_poll_req([0]))),
            Client(self.core, self.held).build(request_body(BodyType.KUR, self.key, None)),
            Client(self.core, self.held).build(revocation_body(certificate, 6)),
            Client(self.core, self.held).build(asked),
        ]

    def protect(self, part: bytes, original: PKIMessage, key: MACKey | None) -> bytes:
        """Return the message of a ProtectedPart that was changed, under the protection of the original."""
        if key is not None:
            return finish_message(part, key.compute(part))
        return finish_message(part, self.held.key.sign(part, ec.ECDSA(SHA256())), original.extra_certs)


def elements(encoded: bytes, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield start, start of content and end of each DER element in a sequence of them, the inner ones too."""
    position = start
    while position + 2 <= len(encoded):
        length, content = encoded[position + 1], position + 2
        if length & 0x80:
            octets = length & 0x7F
            length, content = int.from_bytes(encoded[content : content + octets], "big"), content + octets
        end = content + length
        yield position, content, end
        if encoded[position] & 0x20:
            yield from (one for one in elements(encoded[:end], content))
        position = end


def changed(part: bytes, header_bytes: int, chance: random.Random, *, with_header: bool) -> bytes:
    """Return a ProtectedPart with one element of it changed; all lengths around it stay true."""
    content_start = next(elements(part))[1]
    found = [one for one in elements(part) if one[0] >= content_start + (0 if with_header else header_bytes)]
    start, content, end = chance.choice(found)
    element, inside = part[start:end], part[content:end]
    match chance.randrange(6):
        case 0:
            new = b""
        case 1:
            new = element + element
        case 2:
            new = bytes((element[0] ^ (1 << chance.randrange(8)),)) + element[1:]
        case 3:
            new = der.encode(element[0], chance.choice(EXTREMES))
        case 4:
            other = chance.choice(found)
            new = part[other[0] : other[2]]
        case _:
            flipped = bytearray(inside or b"\0")
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            new = der.encode(element[0], bytes(flipped))
    return replaced(part, start, end, new)


def replaced(part: bytes, start: int, end: int, new: bytes) -> bytes:
    """Return DER with one element replaced and the lengths of all that it is in corrected."""
    position, (_, content, last) = 0, next(elements(part))
    if (start, end) == (position, last):
        return new
    pieces, rest = [], content
    while rest < last:
        piece = next(elements(part, rest))
        if piece[0] <= start and end <= piece[2]:
            pieces.append(replaced(part[piece[0] : piece[2]], start - piece[0], end - piece[0], new))
        else:
            pieces.append(part[piece[0] : piece[2]])
        rest = piece[2]
    return der.encode(part[0], b"".join(pieces))


async def records(core: Core) -> dict[int, CertificateRecord]:
    now = core.clock.now()
    found = await core.storage.read(
        lambda tx: certificates.newest(tx, authorities=None, state=None, now=now, limit=100_000)
    )
    return {one.serial: one for one in found}


async def attack(core: Core, count: int, seed: int) -> None:
    chance = random.Random(seed)
    by_mac = ByMAC(await credential(core, uses=10_000))
    other = await holder(core, "CN=sensor-8")
    victim = Victim(core, by_mac, await holder(core))
    kinds: set[BodyType] = set()
    before = await records(core)
    for number in range(count):
        original = parse_pki_message(chance.choice(victim.messages()))
        message = protected_anew(victim, original, chance)
        peer = f"192.0.{number % 250}.{number // 250 + 1}"
        try:
            answered = await core.cmp.answer(message, operation=None, profile=None, peer=peer)
        except (MalformedMessageError, TooLargeError):
            continue
        kinds.add(hold(answered))
        after = await records(core)
        hold_to(victim, other, before, after)
        if after != before:  # suspended, or so many of its own as a day allows: go on with another
            victim.held = await holder(core)
            before = await records(core)
    assert BodyType.ERROR in kinds
    assert kinds & {BodyType.IP, BodyType.KUP, BodyType.GENP, BodyType.RP}  # so deep it got


def protected_anew(victim: Victim, original: PKIMessage, chance: random.Random) -> bytes:
    is_mac = not original.extra_certs
    key = verify_mac(original, victim.by_mac.credential.secret.encode()) if is_mac else None
    part = der.sequence(original.header_der, original.body_der)
    # The header names the MAC: where it is changed the secret seems to be guessed, and no more is answered.
    altered = changed(part, len(original.header_der), chance, with_header=not is_mac)
    return victim.protect(altered, original, key)


def hold(answered: bytes) -> BodyType:
    """Hold an answer to what every answer is: standard, bounded, and no failure of the program."""
    require_standard(answered)
    assert len(answered) < MAX_ANSWER_BYTES
    answer = Answer(parse_pki_message(answered))
    if answer.body in (BodyType.ERROR, BodyType.IP, BodyType.KUP):
        assert answer.failure is not PKIFailureInfo.SYSTEM_FAILURE, answer.status
    return answer.body


def hold_to(
    victim: Victim,
    other: BySignature,
    before: dict[int, CertificateRecord],
    after: dict[int, CertificateRecord],
) -> None:
    """At most one certificate comes of a message: of the key that proved itself, with its one name."""
    new = [one for serial, one in after.items() if serial not in before]
    assert len(new) <= 1
    for record in new:
        certificate = x509.load_der_x509_certificate(record.certificate)
        assert certificate.subject.rfc4514_string() == "CN=sensor-7"
        assert certificate.public_key() == victim.key.public_key()
    own = x509.load_der_x509_certificate(victim.held.certificate).serial_number
    touched = {serial for serial, one in before.items() if after[serial].state != one.state}
    assert touched <= {own}
    assert x509.load_der_x509_certificate(other.certificate).serial_number not in touched


async def test_changed_and_protected_anew(core: Core) -> None:
    await attack(core, 150, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 5))
def test_many_changed_and_protected_anew(initialised_home: Path, tmp_path: Path, seed: int) -> None:
    async def run() -> None:
        home = Home(shutil.copytree(initialised_home, tmp_path / "home"))
        async with open_core(home, SetClock()) as core:
            await attack(core, 1_500, seed)

    asyncio.run(run())
