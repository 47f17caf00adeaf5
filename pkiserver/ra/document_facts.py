"""What documents are made of, read from what is on record."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from pkiserver.documents.acknowledgement import Acknowledgement
from pkiserver.documents.decision import CaseDecision
from pkiserver.documents.explanations import explanations
from pkiserver.documents.form import ApplicationForm
from pkiserver.documents.words import Language
from pkiserver.errors import ConflictError
from pkiserver.ra.registration.numbers import ULAANBAATAR
from pkiserver.ra.registration.people import APPLICATIONS
from pkiserver.ra.registration.personal_data import PersonalData
from protocols.x509.certificate import serial_text
from store import applications, certificates, offices, people
from store.applications import ApplicationEventRecord, ApplicationRecord
from store.cases import CaseRecord
from store.database import Transaction
from store.records import CertificateRecord

_HANDED_OVER: Final = "deliver"


class DocumentFacts:
    """Reads what stands on documents; `ConflictError` where it is not there yet, or erased."""

    def __init__(self, data: PersonalData, texts: Sequence[Path], register_url: str) -> None:
        self._data = data
        self._texts = texts  # folders with the explanations, the first one goes before
        self._register_url = register_url

    def form(self, tx: Transaction, record: ApplicationRecord) -> ApplicationForm:
        """Return the form IUB-41 of a citizen whose certificate is made (regulation 2.5, 2.6)."""
        values = self._form_values(tx, record)
        if record.organization is not None:
            raise ConflictError("the form IUB-41 is of citizens: an organisation applied here")
        certificate = _certificate(tx, record)
        serial = serial_text(certificate.serial)
        return ApplicationForm(
            application=record.id,
            office=_office(tx, record.office) or "",
            **values | {"birth_date": date.fromisoformat(values["birth_date"])},
            applied_on=record.created_at.astimezone(ULAANBAATAR).date(),
            valid_from=certificate.not_before.astimezone(ULAANBAATAR).date(),
            valid_until=certificate.not_after.astimezone(ULAANBAATAR).date(),
            entered_by=record.created_by,
            serial=serial,
            status_url=f"{self._register_url}?serial={serial.replace(':', '')}",
        )

    def acknowledgement(
        self, tx: Transaction, record: ApplicationRecord, language: Language
    ) -> Acknowledgement:
        """Return what was acknowledged when the carrier was handed over (regulation 2.7)."""
        values = self._form_values(tx, record)
        event = _handed_over(tx, record)
        version = str(json.loads(event.detail)["text_version"])
        return Acknowledgement(
            application=record.id,
            parent_name=values["parent_name"],
            given_name=values["given_name"],
            register_number=values["register_number"],
            serial=serial_text(_certificate(tx, record).serial),
            carrier=record.carrier,
            text_version=version,
            explained=explanations(self._texts, version, language),
            acknowledged_at=event.at.astimezone(ULAANBAATAR),
            registrar=event.actor,
        )

    def decision(self, tx: Transaction, record: CaseRecord) -> CaseDecision:
        """Return what was decided of a case."""
        if record.decided_at is None or record.decided_by is None:
            raise ConflictError(f"case {record.id} is not decided yet")
        person = people.get(tx, record.person) if record.person is not None else None
        names = (person.parent_name, person.given_name) if person else ()
        return CaseDecision(
            case=record.id,
            kind=record.kind,
            channel=record.channel,
            ground=record.ground,
            holder=" ".join(one for one in names if one) or None,
            serial=serial_text(record.serial),
            office=_office(tx, record.office),
            lifts=record.lifts,
            evidence=json.loads(record.evidence),
            received_at=record.received_at.astimezone(ULAANBAATAR),
            due_at=record.due_at.astimezone(ULAANBAATAR),
            granted=record.state == "granted",
            why=record.decision or "",
            decided_at=record.decided_at.astimezone(ULAANBAATAR),
            decided_by=record.decided_by,
            entered_by=record.entered_by,
        )

    def _form_values(self, tx: Transaction, record: ApplicationRecord) -> dict[str, Any]:
        form = self._data.read(tx, APPLICATIONS, record.id, ["form"]).get("form")
        if form is None:
            raise ConflictError(f"the form of application {record.id} is erased")
        values: dict[str, Any] = json.loads(form)
        return values


def _certificate(tx: Transaction, record: ApplicationRecord) -> CertificateRecord:
    found = None
    if record.authority is not None and record.serial is not None:
        found = certificates.get(tx, record.authority, record.serial)
    if found is None:
        raise ConflictError(f"application {record.id} has no certificate yet")
    return found


def _handed_over(tx: Transaction, record: ApplicationRecord) -> ApplicationEventRecord:
    found = [one for one in applications.events(tx, record.id) if one.event == _HANDED_OVER]
    if not found:
        raise ConflictError(f"the carrier of application {record.id} was not handed over yet")
    return found[-1]


def _office(tx: Transaction, office: int | None) -> str | None:
    found = offices.get(tx, office) if office is not None else None
    return found.name if found else None
