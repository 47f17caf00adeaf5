"""Purging documents whose retention is over: by rule, after the archive has them, and by two administrators.

What is erased is the octets; the row with the SHA-256 stays, and the audit log with it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from config.schema_documents import Retention
from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, RefusedError
from pkiserver.ra.documents import erase_documents
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import Action, Actor, Approval, Assignment, Permission, Role, Target
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import certificates
from store import document_purges as rows
from store.database import Transaction
from store.document_purges import PurgeRecord

WAITS: Final = timedelta(days=1)  # for the second person: longer, and the first may have another role by then
MAX_DOCUMENTS: Final = 1000  # of a purge: it is one transaction
_PAGE: Final = 500

Candidates = Callable[[Transaction, int, datetime, bool, int], list[tuple[int, str | None]]]
_CANDIDATES: Final[Mapping[str, Candidates]] = {"application": rows.of_applications, "case": rows.of_cases}


class Purges:
    """Asks for purges and carries them out."""

    def __init__(
        self, *, storage: Storage, clock: Clock, gate: Gate, data: PersonalData, retention: Retention
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data
        self._hand_over_first = retention.hand_over_first
        self._periods = {"application": retention.applications, "case": retention.cases}

    async def propose(self, actor: Actor, kind: str, ground: str) -> PurgeRecord:
        """Ask that documents of applications or cases are erased, those that the rule permits now.

        `ConflictError` where there are none.
        """
        if kind not in _CANDIDATES:
            raise RefusedError(f"a purge is of one of {', '.join(_CANDIDATES)}")
        why = parse_line(ground, MAX_GROUND_CHARACTERS)
        granted = await self._gate.granted(Permission(actor, Action.PURGE_DOCUMENTS))
        now = self._clock.now()

        def transaction(tx: Transaction) -> PurgeRecord:
            documents = self._permitted(tx, kind, now)
            if not documents:
                raise ConflictError(f"no document of any {kind} may be purged yet")
            asked = rows.ask(
                tx,
                kind=kind,
                documents=documents,
                ground=why,
                by=actor.name,
                role=granted.role.value,
                person=actor.person,
                now=now,
            )
            entry = audit.entry(
                now, actor.name, "document.purge.ask", purge=asked.id, kind=kind, documents=documents
            )
            audit_chain.append(tx, entry)
            return asked

        return await self._storage.write(transaction)

    async def confirm(self, actor: Actor, purge: int) -> int:
        """Erase what another administrator asked for; return how many documents there were.

        `DeniedError` for the same person, `ConflictError` where the rule permits one of them no more.
        """
        now = self._clock.now()
        asked = await self._storage.read(lambda tx: _waiting(tx, purge, now))
        first = Actor(asked.asked_by, (Assignment(Role(asked.asked_role)),), asked.asked_person)
        target = Target(version=purge)
        await self._gate.require(Permission(actor, Action.PURGE_DOCUMENTS, target, Approval(first, purge)))

        def transaction(tx: Transaction) -> int:
            again = _waiting(tx, purge, now)
            permitted = set(self._permitted(tx, again.kind, now))
            if not permitted.issuperset(again.documents):
                raise ConflictError("what may be purged has changed since: ask again")
            rows.decide(tx, purge, actor.name, now)
            erased = erase_documents(tx, self._data, again.documents, now)
            entry = audit.entry(
                now,
                actor.name,
                "document.purge",
                purge=purge,
                asked_by=again.asked_by,
                documents=list(again.documents),
                personal={"ground": again.ground},
            )
            audit_chain.append(tx, entry)
            return erased

        return await self._storage.write(transaction)

    def _permitted(self, tx: Transaction, kind: str, now: datetime) -> list[int]:
        """Return the first documents that the rule permits to erase, at most `MAX_DOCUMENTS`."""
        before = now - self._periods[kind]
        found: list[int] = []
        after = 0
        while len(found) < MAX_DOCUMENTS and (
            page := _CANDIDATES[kind](tx, after, before, self._hand_over_first, _PAGE)
        ):
            found += [number for number, subject in page if _has_ended(tx, subject, before)]
            after = page[-1][0]
        return found[:MAX_DOCUMENTS]


def _has_ended(tx: Transaction, subject: str | None, before: datetime) -> bool:
    """Return whether every certificate of a subject ended before then, renewed ones too."""
    end = certificates.last_end_of_subject(tx, subject) if subject is not None else None
    return end is None or end < before


def _waiting(tx: Transaction, purge: int, now: datetime) -> PurgeRecord:
    found = rows.get(tx, purge)
    if found is None or found.decided_at is not None or not found.asked_at <= now < found.asked_at + WAITS:
        raise NotFoundError(f"nobody asked for purge {purge} within a day: see `pkiserver archive purge`")
    return found
