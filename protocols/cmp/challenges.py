"""Challenges by which a decryption key proves itself (RFC 9810 §5.2.8.3.3): popdecc and popdecr."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.general_name import parse_general_name
from protocols.errors import MalformedError

MAX_CHALLENGES: Final = 32  # as many as requests in a message


@dataclass(frozen=True, slots=True)
class Rand:
    """What is encrypted: a random INTEGER, and the sender's name, a DER GeneralName."""

    number: int = field(repr=False)
    sender: bytes

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a Rand."""
        fields = reader.enter()
        rand = cls(fields.integer(), parse_general_name(fields))
        fields.finish()
        return rand

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.integer(self.number), self.sender)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A Rand encrypted to one key: in `challenge` in pvno 2, in the DER EnvelopedData `encrypted_rand` in 3.

    `owf` is None where it is that of the challenge before.
    """

    owf: AlgorithmIdentifier | None
    witness: bytes
    challenge: bytes = b""
    encrypted_rand: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a Challenge."""
        fields = reader.enter()
        challenge = cls(
            AlgorithmIdentifier.parse(fields) if fields.peek() == der.SEQUENCE else None,
            fields.octet_string(),
            fields.octet_string(),
            der.optional(fields, 0, lambda inner: inner.read_raw(der.SEQUENCE)),
        )
        fields.finish()
        return challenge

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            self.owf.encode() if self.owf else b"",
            der.octet_string(self.witness),
            der.octet_string(self.challenge),
            b"" if self.encrypted_rand is None else der.explicit(0, self.encrypted_rand),
        )


def parse_challenges(content_der: bytes) -> tuple[Challenge, ...]:
    """Return the challenges of a DER POPODecKeyChallContent: one or more, the first with its owf."""
    outer = Reader(content_der)
    challenges = der.repeated(
        outer.enter(), Challenge.parse, at_most=MAX_CHALLENGES, what="challenges in a message"
    )
    outer.finish()
    if not challenges or challenges[0].owf is None:
        raise MalformedError("POPODecKeyChallContent is empty, or its first challenge names no owf")
    return challenges


def build_challenges(challenges: Iterable[Challenge]) -> bytes:
    """Return the DER of a POPODecKeyChallContent."""
    return der.sequence(*(challenge.encode() for challenge in challenges))


def parse_challenge_responses(content_der: bytes) -> tuple[int, ...]:
    """Return the numbers of a DER POPODecKeyRespContent: one or more, in the order of the challenges."""
    outer = Reader(content_der)
    numbers = der.repeated(
        outer.enter(), Reader.integer, at_most=MAX_CHALLENGES, what="responses in a message"
    )
    outer.finish()
    if not numbers:
        raise MalformedError("POPODecKeyRespContent is empty")
    return numbers


def build_challenge_responses(numbers: Iterable[int]) -> bytes:
    """Return the DER of a POPODecKeyRespContent."""
    return der.sequence(*map(der.integer, numbers))
