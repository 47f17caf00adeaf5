"""Which document is made when, of what; kept encrypted with its SHA-256 in the audit log, and read.

The same document made again is the one that there is: it is made of what is on record, and of nothing else.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.documents.acknowledgement import acknowledgement_pdf
from pkiserver.documents.decision import decision_pdf
from pkiserver.documents.form import application_form_pdf
from pkiserver.documents.words import LANGUAGES, Language
from pkiserver.errors import ChangedError, ConflictError, NotFoundError, RefusedError
from pkiserver.ra.document_facts import DocumentFacts
from pkiserver.ra.registration.application_events import found_application, target_of
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.storage import Storage
from store import applications, cases
from store import audit as audit_chain
from store import documents as rows
from store.applications import ApplicationRecord
from store.cases import CaseRecord
from store.database import Transaction
from store.documents import DocumentRecord, NewDocument
from store.records import AuditEntry

SUBJECT: Final = "documents"
FORM: Final = "application_form"
ACKNOWLEDGEMENT: Final = "acknowledgement"
DECISION: Final = "decision"
OF_APPLICATION: Final = (FORM, ACKNOWLEDGEMENT)
MAX_OCTETS: Final = 1 << 20  # one takes some 60 KiB
_FIELD: Final = "pdf"


@dataclass(frozen=True, slots=True, repr=False)
class StoredDocument:
    """A document with its octets."""

    record: DocumentRecord
    pdf: bytes


class Documents:
    """Makes and shows documents of applications and cases."""

    def __init__(
        self, *, storage: Storage, clock: Clock, gate: Gate, data: PersonalData, facts: DocumentFacts
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data
        self._facts = facts
        self._setting = asyncio.Lock()  # reportlab keeps its fonts in one place

    async def make_of_application(
        self, actor: Actor, application: int, kind: str, language: str
    ) -> DocumentRecord:
        """Make the form (regulation 2.6) or the acknowledgement (2.7) of an application.

        `ConflictError` where it has not come that far, or was erased; `RefusedError` for another kind or
        language.
        """
        chosen = _language(language)
        record = await self._application(actor, Action.FINISH_APPLICATION, application)
        return await self._made_of_application(actor, record, kind, chosen)

    async def _made_of_application(
        self, actor: Actor, record: ApplicationRecord, kind: str, chosen: Language
    ) -> DocumentRecord:
        if kind == FORM:
            form = await self._storage.read(lambda tx: self._facts.form(tx, record))
            pdf = await self._set(lambda: application_form_pdf(form, chosen))
        elif kind == ACKNOWLEDGEMENT:
            said = await self._storage.read(lambda tx: self._facts.acknowledgement(tx, record, chosen))
            pdf = await self._set(lambda: acknowledgement_pdf(said, chosen))
        else:
            raise RefusedError(f"a document of an application is one of {', '.join(OF_APPLICATION)}")
        return await self._keep(actor, pdf, kind, chosen, application=record)

    async def make_of_case(self, actor: Actor, case: int, language: str) -> DocumentRecord:
        """Make the decision of a case (regulation 3.1 to 3.6); `ConflictError` where there is none yet."""
        chosen = _language(language)
        record = await self._case(actor, Action.PRINT_DECISION, case)
        return await self._made_of_case(actor, record, chosen)

    async def _made_of_case(self, actor: Actor, record: CaseRecord, chosen: Language) -> DocumentRecord:
        decision = await self._storage.read(lambda tx: self._facts.decision(tx, record))
        pdf = await self._set(lambda: decision_pdf(decision, chosen))
        return await self._keep(actor, pdf, DECISION, chosen, case=record)

    async def complete(self, actor: Actor, record: ApplicationRecord | CaseRecord) -> list[DocumentRecord]:
        """Return the documents of what goes to the archive; those that are missing are made, in Mongolian.

        For callers who asked the permission table. `ConflictError` where one was erased, or cannot be made.
        """
        if isinstance(record, CaseRecord):
            found = await self._storage.read(lambda tx: rows.of_case(tx, record.id, MAX_LIST))
            wanted: tuple[str, ...] = (DECISION,)
        else:
            found = await self._storage.read(lambda tx: rows.of_application(tx, record.id, MAX_LIST))
            wanted = OF_APPLICATION if record.organization is None else (ACKNOWLEDGEMENT,)
        for kind in wanted:
            if kind in {one.kind for one in found}:
                continue
            if isinstance(record, CaseRecord):
                found.append(await self._made_of_case(actor, record, "mn"))
            else:
                found.append(await self._made_of_application(actor, record, kind, "mn"))
        return found

    async def of_application(self, actor: Actor, application: int) -> list[DocumentRecord]:
        """Return the documents of an application, the oldest first."""
        await self._application(actor, Action.READ_APPLICATION, application)
        return await self._storage.read(lambda tx: rows.of_application(tx, application, MAX_LIST))

    async def of_case(self, actor: Actor, case: int) -> list[DocumentRecord]:
        """Return the documents of a case, the oldest first."""
        await self._case(actor, Action.READ_CASE, case)
        return await self._storage.read(lambda tx: rows.of_case(tx, case, MAX_LIST))

    async def read_of_application(self, actor: Actor, application: int, document: int) -> StoredDocument:
        """Return a document of this application; the reading is recorded. `ConflictError` once erased."""
        await self._application(actor, Action.READ_APPLICATION, application)
        return await self._read(actor, document, lambda one: one.application == application)

    async def read_of_case(self, actor: Actor, case: int, document: int) -> StoredDocument:
        """Return a document of this case; the reading is recorded. `ConflictError` once erased."""
        await self._case(actor, Action.READ_CASE, case)
        return await self._read(actor, document, lambda one: one.decided_case == case)

    def content(self, tx: Transaction, record: DocumentRecord) -> bytes:
        """Return the octets of a document, those that its hash is of; `ConflictError` for others."""
        kept = self._data.read(tx, SUBJECT, record.id).get(_FIELD)
        if kept is None:
            raise ConflictError(f"document {record.id} was erased")
        pdf = base64.b64decode(kept)
        if hashlib.sha256(pdf).digest() != record.sha256:
            raise ConflictError(f"document {record.id} is not the one that was made: its hash is another")
        return pdf

    async def _application(self, actor: Actor, action: Action, application: int) -> ApplicationRecord:
        record = await self._storage.read(lambda tx: found_application(tx, application))
        await self._gate.require(Permission(actor, action, target_of(record)))
        return record

    async def _case(self, actor: Actor, action: Action, case: int) -> CaseRecord:
        record = await self._storage.read(lambda tx: cases.get(tx, case))
        if record is None:
            raise NotFoundError(f"no case {case}; see `pkiserver case list`")
        target = Target(office=record.office, organization=record.organization, holder=record.person)
        await self._gate.require(Permission(actor, action, target))
        return record

    async def _set(self, render: Callable[[], bytes]) -> bytes:
        """Set a page beside the event loop: it takes some tens of milliseconds."""
        async with self._setting:
            pdf = await asyncio.to_thread(render)
        if len(pdf) > MAX_OCTETS:
            raise RefusedError(f"the document takes {len(pdf)} octets: {MAX_OCTETS} are allowed")
        return pdf

    async def _keep(
        self,
        actor: Actor,
        pdf: bytes,
        kind: str,
        language: Language,
        *,
        application: ApplicationRecord | None = None,
        case: CaseRecord | None = None,
    ) -> DocumentRecord:
        now = self._clock.now()
        new = NewDocument(
            kind=kind,
            language=language,
            application=application.id if application else None,
            decided_case=case.id if case else None,
            octets=len(pdf),
            sha256=hashlib.sha256(pdf).digest(),
            made_at=now,
            made_by=actor.name,
        )

        def transaction(tx: Transaction) -> DocumentRecord:
            if application is not None and applications.get(tx, application.id) != application:
                raise ChangedError("the application was changed meanwhile: make the document again")
            found = rows.same(tx, new)
            if found is not None and found.erased_at is None:
                return found
            if found is not None:
                raise ConflictError(f"document {found.id} was made before, and erased")
            added = rows.add(tx, new)
            self._data.put(tx, SUBJECT, added.id, {_FIELD: base64.b64encode(pdf).decode("ascii")})
            audit_chain.append(tx, _made(added))
            return added

        return await self._storage.write(transaction)

    async def _read(
        self, actor: Actor, document: int, belongs: Callable[[DocumentRecord], bool]
    ) -> StoredDocument:
        now = self._clock.now()

        def transaction(tx: Transaction) -> StoredDocument:
            found = rows.get(tx, document)
            if found is None or not belongs(found):
                raise NotFoundError(f"no document {document} there")
            entry = audit.entry(
                now, actor.name, "document.read", document=document, on_behalf_of=actor.on_behalf_of
            )
            audit_chain.append(tx, entry)
            return StoredDocument(found, self.content(tx, found))

        return await self._storage.write(transaction)


def erase_documents(tx: Transaction, data: PersonalData, documents: Sequence[int], now: datetime) -> int:
    """Erase the octets of documents; their hashes stay. Return how many values there were."""
    erased = 0
    for document in documents:
        if rows.mark_erased(tx, document, now):
            erased += data.erase(tx, SUBJECT, document)
    return erased


def _made(record: DocumentRecord) -> AuditEntry:
    return audit.entry(
        record.made_at,
        record.made_by,
        "document.make",
        document=record.id,
        kind=record.kind,
        language=record.language,
        application=record.application,
        case=record.decided_case,
        octets=record.octets,
        sha256=record.sha256.hex(),
    )


def _language(text: str) -> Language:
    for one in LANGUAGES:
        if one == text:
            return one
    raise RefusedError(f"a document is in one of {', '.join(LANGUAGES)}")
