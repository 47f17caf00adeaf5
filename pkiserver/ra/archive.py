"""Archive units of applications and cases (regulation 2.6, 4.1): made, signed, packed, handed over.

A unit is made once and given out again as often as it is asked for, until somebody has taken it: the receipt
of its package says who and when, and closes its application.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from pkiserver import audit
from pkiserver.archive.manifest import MAX_UNITS, package_manifest, parse_manifest, unit_manifest
from pkiserver.ca.message_signer import MessageSigner
from pkiserver.clock import Clock, utc_text
from pkiserver.errors import ConflictError, NotFoundError, RefusedError
from pkiserver.ra.documents import Documents
from pkiserver.ra.registration.application_events import move_on
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import Action, Actor, Permission
from pkiserver.ra.registration.states import Event, State
from pkiserver.storage import Storage
from protocols import oid
from protocols.cms.content_info import read_content_info
from protocols.cms.signed_data import SignedData
from protocols.x509.certificate import serial_text
from store import applications, cases, certificates
from store import archive as rows
from store import audit as audit_chain
from store import documents as document_rows
from store.applications import ApplicationRecord
from store.archive import PackageRecord, UnitRecord
from store.cases import CaseRecord
from store.database import Transaction
from store.documents import DocumentRecord

SUBJECT: Final = "archive_units"
MAX_NAME_CHARACTERS: Final = 200
_FINISHED: Final = (State.DELIVERED.value, State.CLOSED.value)
_FIELD: Final = "record"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a unit is of: an application, or else a case."""

    application: int | None = None
    case: int | None = None

    @property
    def folder(self) -> str:
        """The name of its unit's folder."""
        return f"case-{self.case}" if self.application is None else f"application-{self.application}"


@dataclass(frozen=True, slots=True, repr=False)
class Unit:
    """A unit with the files that its manifest names."""

    record: UnitRecord
    files: Mapping[str, bytes]


class Archive:
    """Makes units and packages, and records who took them."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        data: PersonalData,
        documents: Documents,
        signer: MessageSigner,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data
        self._documents = documents
        self._signer = signer

    async def pending(self, actor: Actor, until: datetime) -> list[Subject]:
        """Return what ended before `until` and was not handed over, at most `MAX_UNITS`."""
        await self._gate.require(Permission(actor, Action.HAND_OVER_ARCHIVE))

        def look(tx: Transaction) -> list[Subject]:
            found = [Subject(application=one) for one in rows.pending_applications(tx, until, MAX_UNITS)]
            found += [Subject(case=one) for one in rows.pending_cases(tx, until, MAX_UNITS)]
            return found[:MAX_UNITS]

        return await self._storage.read(look)

    async def unit(self, actor: Actor, subject: Subject) -> Unit:
        """Return the unit of an application or a case, made and signed where there is none yet.

        `ConflictError` where it is not finished, or what belongs to it was erased.
        """
        await self._gate.require(Permission(actor, Action.HAND_OVER_ARCHIVE))
        known = await self._storage.read(lambda tx: rows.unit_of(tx, subject.application, subject.case))
        record = known or await self._made(actor, subject)
        now = self._clock.now()

        def transaction(tx: Transaction) -> Unit:
            files = self._files(tx, record)
            entry = audit.entry(now, actor.name, "archive.unit.read", unit=record.id, of=subject.folder)
            audit_chain.append(tx, entry)
            return Unit(record, files)

        return await self._storage.write(transaction)

    async def seal(self, actor: Actor, units: Sequence[int]) -> PackageRecord:
        """Return a signed package of units that nobody has taken yet; of each once."""
        await self._gate.require(Permission(actor, Action.HAND_OVER_ARCHIVE))
        if not 0 < len(set(units)) == len(units) <= MAX_UNITS:
            raise RefusedError(f"a package has 1 to {MAX_UNITS} units, each once")
        number, packed = await self._storage.read(
            lambda tx: (rows.next_package(tx), [_open_unit(tx, one) for one in units])
        )
        now = self._clock.now()
        manifest = package_manifest(number, now, {_subject(one).folder: one.manifest for one in packed})
        signature = await self._signed(manifest)
        made = PackageRecord(number, now, actor.name, manifest, signature, None, None, None)

        def transaction(tx: Transaction) -> PackageRecord:
            if rows.next_package(tx) != number:
                raise ConflictError("another package was made meanwhile: try again")
            rows.add_package(tx, made)
            entry = audit.entry(
                now, actor.name, "archive.package", package=number, units=len(units), sha256=_sha256(manifest)
            )
            audit_chain.append(tx, entry)
            return made

        return await self._storage.write(transaction)

    async def hand_over(self, actor: Actor, package: int, taken_by: str, number: str) -> PackageRecord:
        """Record who took a package, under which number of theirs; return it with its signed receipt.

        The applications of it that were delivered are closed. `ConflictError` where it was taken before, or
        a unit of it with another one.
        """
        await self._gate.require(Permission(actor, Action.HAND_OVER_ARCHIVE))
        who, theirs = parse_line(taken_by, MAX_NAME_CHARACTERS), parse_line(number, MAX_NAME_CHARACTERS)
        found = await self._storage.read(lambda tx: _found_package(tx, package))
        if found.receipt is not None and _tells(found.receipt, who, theirs):
            return found  # asked again, since the receipt did not arrive
        now = self._clock.now()
        receipt = _receipt(found, who, theirs, actor.name, now)
        signature = await self._signed(receipt)

        def transaction(tx: Transaction) -> PackageRecord:
            if not rows.hand_over(tx, package, now, receipt, signature):
                raise ConflictError(f"package {package} was taken before")
            for folder in parse_manifest(found.manifest).sha256:
                self._take(tx, folder, package, actor, now)
            entry = audit.entry(
                now,
                actor.name,
                "archive.hand_over",
                package=package,
                number=theirs,
                receipt_sha256=_sha256(receipt),
                personal={"taken_by": who},
            )
            audit_chain.append(tx, entry)
            return _found_package(tx, package)

        return await self._storage.write(transaction)

    async def _made(self, actor: Actor, subject: Subject) -> UnitRecord:
        record = await self._storage.read(lambda tx: _finished(tx, subject))
        documents = await self._documents.complete(actor, record)
        now = self._clock.now()
        number, files = await self._storage.read(
            lambda tx: (rows.next_unit(tx), self._gathered(tx, record, documents))
        )
        manifest = unit_manifest(number, subject.folder, now, files)
        signature = await self._signed(manifest)
        made = UnitRecord(
            number, subject.application, subject.case, now, actor.name, manifest, signature, None
        )

        def transaction(tx: Transaction) -> UnitRecord:
            known = rows.unit_of(tx, subject.application, subject.case)
            if known is not None:
                return known
            if rows.next_unit(tx) != number or _finished(tx, subject) != record:
                raise ConflictError(f"{subject.folder} or the archive was changed meanwhile: try again")
            rows.add_unit(tx, made)
            kept = base64.b64encode(files["record.json"]).decode("ascii")
            self._data.put(tx, SUBJECT, number, {_FIELD: kept})
            entry = audit.entry(
                now, actor.name, "archive.unit", unit=number, of=subject.folder, sha256=_sha256(manifest)
            )
            audit_chain.append(tx, entry)
            return made

        return await self._storage.write(transaction)

    def _gathered(
        self, tx: Transaction, record: ApplicationRecord | CaseRecord, documents: Sequence[DocumentRecord]
    ) -> dict[str, bytes]:
        files = {_name(one): self._documents.content(tx, one) for one in documents}
        if record.authority is not None and record.serial is not None:
            certificate = certificates.get(tx, record.authority, record.serial)
            if certificate is not None:
                files["certificate.cer"] = certificate.certificate
        events = applications.events(tx, record.id) if isinstance(record, ApplicationRecord) else []
        values = {"record": _values(record), "events": [_values(one) for one in events]}
        files["record.json"] = json.dumps(values, ensure_ascii=False, indent=1, sort_keys=True).encode()
        return files

    def _files(self, tx: Transaction, unit: UnitRecord) -> dict[str, bytes]:
        """Return the files that a unit was signed over; `ConflictError` where one is no more, or another."""
        kept = self._data.read(tx, SUBJECT, unit.id).get(_FIELD)
        if kept is None:
            raise ConflictError(f"the record of archive unit {unit.id} was erased")
        files = {"record.json": base64.b64decode(kept)}
        subject = _subject(unit)
        record = _existing(tx, subject)
        listed = parse_manifest(unit.manifest).sha256
        if record.authority is not None and record.serial is not None and "certificate.cer" in listed:
            certificate = certificates.get(tx, record.authority, record.serial)
            files["certificate.cer"] = certificate.certificate if certificate else b""
        for name in listed:
            if name.endswith(".pdf"):
                document = document_rows.get(tx, int(name.removesuffix(".pdf").rpartition("-")[2]))
                files[name] = self._documents.content(tx, document) if document else b""
        wrong = [name for name, digest in listed.items() if _sha256(files.get(name, b"")) != digest]
        if wrong:
            raise ConflictError(f"archive unit {unit.id} cannot be given: {wrong[0]} is not what was signed")
        return files

    def _take(self, tx: Transaction, folder: str, package: int, actor: Actor, now: datetime) -> None:
        kind, _, number = folder.partition("-")
        subject = Subject(int(number)) if kind == "application" else Subject(None, int(number))
        unit = rows.unit_of(tx, subject.application, subject.case)
        if unit is None or not rows.set_package(tx, unit.id, package):
            raise ConflictError(f"the archive unit of {folder} was handed over with another package")
        if subject.application is None:
            return
        found = applications.get(tx, subject.application)
        if found is not None and found.state == State.DELIVERED.value:
            where = {"archive_unit": f"{package}/{unit.id}"}
            move_on(tx, found, Event.CLOSE, by=actor.name, ground="archived", now=now, detail=where)

    async def _signed(self, content: bytes) -> bytes:
        """Return a detached signature of the archive key (RFC 5652 §5.2)."""
        message = await self._signer.sign(oid.PKCS7_DATA, content)
        signed = SignedData.from_content_info(read_content_info(message))
        return replace(signed, content=None).to_content_info().encode()


def _subject(unit: UnitRecord) -> Subject:
    return Subject(unit.application, unit.decided_case)


def _existing(tx: Transaction, subject: Subject) -> ApplicationRecord | CaseRecord:
    found: ApplicationRecord | CaseRecord | None = None
    if subject.application is not None:
        found = applications.get(tx, subject.application)
    elif subject.case is not None:
        found = cases.get(tx, subject.case)
    if found is None:
        raise NotFoundError(f"there is no {subject.folder}")
    return found


def _finished(tx: Transaction, subject: Subject) -> ApplicationRecord | CaseRecord:
    found = _existing(tx, subject)
    done = found.decided_at is not None if isinstance(found, CaseRecord) else found.state in _FINISHED
    if not done:
        raise ConflictError(f"{subject.folder} is not finished: nothing of it goes to the archive yet")
    return found


def _open_unit(tx: Transaction, number: int) -> UnitRecord:
    unit = rows.unit(tx, number)
    if unit is None:
        raise NotFoundError(f"no archive unit {number}")
    if unit.package is not None:
        raise ConflictError(f"archive unit {number} was handed over with package {unit.package}")
    return unit


def _found_package(tx: Transaction, number: int) -> PackageRecord:
    found = rows.package(tx, number)
    if found is None:
        raise NotFoundError(f"no archive package {number}")
    return found


def _name(document: DocumentRecord) -> str:
    return f"{document.kind}-{document.language}-{document.id}.pdf"


def _values(record: Any) -> dict[str, Any]:
    values: dict[str, Any] = asdict(record)
    if isinstance(values.get("serial"), int):
        values["serial"] = serial_text(values["serial"])
    return {name: utc_text(one) if isinstance(one, datetime) else one for name, one in values.items()}


def _receipt(package: PackageRecord, taken_by: str, number: str, recorded_by: str, at: datetime) -> bytes:
    said = {
        "kind": "receipt",
        "package": package.id,
        "package_sha256": _sha256(package.manifest),
        "units": len(parse_manifest(package.manifest).sha256),
        "taken_by": taken_by,
        "taken_at": utc_text(at),
        "number": number,
        "recorded_by": recorded_by,
    }
    return json.dumps(said, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def _tells(receipt: bytes, taken_by: str, number: str) -> bool:
    """Return whether a receipt is of these: who took it, under which number."""
    said = json.loads(receipt)
    return (said["taken_by"], said["number"]) == (taken_by, number)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
