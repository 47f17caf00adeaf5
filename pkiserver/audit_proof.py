"""A proof that audit records stand in the chain, which shows nothing of the other records.

The hash of a record is SHA-256(hash of the one before || SHA-256(its text)). So the hash before the first
record, the digests of all texts from there on and the texts of the records in question are enough to compute
the head of the chain; who trusts the head (it was kept elsewhere, see `audit head`) trusts the records.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pkiserver.audit import ChainError, Head
from store import audit as chain
from store.records import AuditRecord

_HASH_CHARACTERS: Final = 64


class LinksWriter:
    """Makes the lines of the file of links: `begin N HASH`, then `N DIGEST` a record, `head N HASH`."""

    def __init__(self, before: Head) -> None:
        """Begin behind the record `before`, the empty chain's head for the first one."""
        self._hash = bytes.fromhex(before.hash)
        self._sequence = before.sequence

    def begin(self) -> bytes:
        return f"begin {self._sequence} {self._hash.hex()}\n".encode("ascii")

    def lines(self, records: Iterable[AuditRecord]) -> bytes:
        """Return the lines of the next records; `ChainError` where they are not what was written."""
        lines = []
        for record in records:
            digest = chain.text_digest(record)
            self._hash = chain.link(self._hash, digest)
            self._sequence += 1
            if record.sequence != self._sequence or record.hash != self._hash:
                raise ChainError(f"audit record {self._sequence} was altered, moved or removed")
            lines.append(f"{record.sequence} {digest.hex()}\n")
        return "".join(lines).encode("ascii")

    def end(self) -> bytes:
        return f"head {self._sequence} {self._hash.hex()}\n".encode("ascii")

    @property
    def head(self) -> Head:
        return Head(self._sequence, self._hash.hex())


def records_text(records: Iterable[AuditRecord]) -> str:
    """Return the records in question, a line of JSON each: `text` is what the digest is of."""
    return "".join(
        json.dumps({"sequence": record.sequence, "text": chain.record_text(record).decode("ascii")}) + "\n"
        for record in records
    )


@dataclass(frozen=True, slots=True)
class Links:
    """What a file of links proves: the digests of the records looked for, and the head that follows."""

    digests: Mapping[int, str]
    head: Head


def read_links(lines: Iterable[str], wanted: frozenset[int]) -> Links:
    """Follow the links from the first to the last; `ChainError` where the file does not hold together."""
    rest = iter(lines)
    begin = _line(rest, "begin")
    sequence, previous = begin.sequence, bytes.fromhex(begin.hash)
    digests: dict[int, str] = {}
    for line in rest:
        name, _, value = line.rstrip("\n").partition(" ")
        if name == "head":
            head = Head(sequence, previous.hex())
            if value != f"{head.sequence} {head.hash}" or next(rest, None) is not None:
                raise ChainError("the links do not lead to the head that stands at their end")
            return Links(digests, head)
        sequence += 1
        if name != str(sequence):
            raise ChainError(f"the links lack record {sequence}")
        previous = chain.link(previous, _digest(value, sequence))
        if sequence in wanted:
            digests[sequence] = value
    raise ChainError("the links were cut: there is no head at their end")


def _line(lines: Iterator[str], name: str) -> Head:
    words = next(lines, "").split()
    if len(words) != 3 or words[0] != name or not words[1].isdecimal() or len(words[1]) > 18:
        raise ChainError(f"the links have no {name}")
    return Head(int(words[1]), _digest(words[2], int(words[1])).hex())


def _digest(text: str, sequence: int) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(text) != _HASH_CHARACTERS or len(digest) != hashlib.sha256().digest_size:
        raise ChainError(f"the link of record {sequence} is no SHA-256")
    return digest
