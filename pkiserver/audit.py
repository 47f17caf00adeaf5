"""What is recorded for the auditor: entries, the verification of the chain, and its head.

The chain itself is kept by `store.audit`; this module knows what a record says and how to check it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from types import NoneType
from typing import Any, Final

from pkiserver.errors import ConflictError, RefusedError
from store import audit as chain
from store.records import AuditEntry, AuditRecord


def entry(
    now: datetime,
    actor: str,
    action: str,
    outcome: str = "done",
    *,
    personal: dict[str, Any] | None = None,
    **detail: Any,
) -> AuditEntry:
    """Return an entry; `detail` holds no personal data, `personal` only what may have to be erased."""
    return AuditEntry(
        at=now,
        actor=actor,
        action=action,
        outcome=outcome,
        detail=_text(detail),
        personal=_text(personal) if personal is not None else None,
    )


_text: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


def as_json(record: AuditRecord) -> dict[str, Any]:
    """Return a record to be read by people; also one that was damaged, as far as it can be shown."""

    def text(value: object) -> str | None:
        return None if value is None else str(value).encode(errors="backslashreplace").decode()

    return {
        "sequence": record.sequence,
        "at": record.at.isoformat(),
        "actor": text(record.actor),
        "action": text(record.action),
        "outcome": text(record.outcome),
        "detail": text(record.detail),
        "personal": text(record.personal),
        "hash": record.hash.hex() if isinstance(record.hash, bytes) else text(record.hash),
    }


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain at some moment; kept elsewhere, it proves later that no tail was cut."""

    sequence: int
    hash: str

    @classmethod
    def of(cls, record: AuditRecord | None) -> "Head":
        """Return the head after this record; None: the empty chain."""
        return cls(record.sequence, record.hash.hex()) if record else cls(0, chain.GENESIS.hex())

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Return the head written as JSON by `audit head`; `RefusedError` when it is none."""
        try:
            values = json.loads(text)
            sequence, digest = values["sequence"], values["hash"]
            octets = bytes.fromhex(digest)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RefusedError("the head file is not one that `pkiserver audit head` wrote") from error
        if type(sequence) is not int or sequence < 0 or len(octets) != len(chain.GENESIS):
            raise RefusedError("the head file does not hold a sequence number and a SHA-256 hash")
        return cls(sequence, octets.hex())


_TYPES: Final[dict[str, tuple[type, ...]]] = {  # SQLite takes any value in any column
    "actor": (str,),
    "action": (str,),
    "outcome": (str,),
    "detail": (str,),
    "personal_salt": (bytes, NoneType),
    "personal": (str, NoneType),
    "personal_hash": (bytes, NoneType),
    "hash": (bytes,),
}


def _types_fit(record: AuditRecord) -> bool:
    return all(isinstance(getattr(record, name), types) for name, types in _TYPES.items())


def _personal_fits(record: AuditRecord) -> bool:
    """Return whether the personal data are those that were recorded, or erased together with their salt."""
    if record.personal is None or record.personal_salt is None:
        return record.personal is None and record.personal_salt is None
    return chain.personal_hash(record.personal_salt, record.personal) == record.personal_hash


class ChainError(ConflictError):
    """The audit log was altered; the message names the record."""


class ChainVerifier:
    """Follows the chain from its first record and raises `ChainError` at the first that does not fit."""

    def __init__(self, head: Head | None = None) -> None:
        """With an earlier `head`, `finish` proves also that the chain still holds it."""
        self.records = 0
        self._previous = chain.GENESIS
        self._head = head
        self._head_seen = head is None or head.sequence == 0

    def check(self, records: Iterable[AuditRecord]) -> None:
        """Check the next records in order."""
        for record in records:
            self._check(record)

    def _check(self, record: AuditRecord) -> None:
        if record.sequence != self.records + 1:
            raise ChainError(f"audit record {self.records + 1} is missing")
        if not _types_fit(record) or chain.record_hash(self._previous, record) != record.hash:
            raise ChainError(f"audit record {record.sequence} was altered, moved or replaced")
        if not _personal_fits(record):
            raise ChainError(f"the personal data of audit record {record.sequence} were altered")
        self._previous = record.hash
        self.records = record.sequence
        if self._head and record.sequence == self._head.sequence:
            if record.hash.hex() != self._head.hash:
                raise ChainError(f"audit record {record.sequence} is not the one of the given head")
            self._head_seen = True

    def finish(self) -> Head:
        """Return the head of the checked chain; `ChainError` where the earlier head is past its end."""
        if not self._head_seen and self._head:
            raise ChainError(
                f"the audit log ends at record {self.records}; the given head is record"
                f" {self._head.sequence}: its tail was cut"
            )
        return Head(self.records, self._previous.hex())
