"""What holders are told of their certificates by mail (regulation 3.3, 3.5), in the change's transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pkiserver.ra.letters.outbox import Letter, Medium, Outbox
from pkiserver.ra.lifecycle import State
from pkiserver.ra.registration.numbers import ULAANBAATAR
from pkiserver.ra.registration.people import SUBJECT
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.status_changes import Changed
from protocols.x509.certificate import serial_text
from store import organizations
from store.database import Transaction

_TEMPLATES: Final[Mapping[State, str]] = {
    State.SUSPENDED: "certificate-suspended",
    State.ACTIVE: "certificate-restored",
    State.REVOKED: "certificate-revoked",
}
# Grounds of cases in the holder's language; a test holds this table total.
GROUNDS_MN: Final[Mapping[str, str]] = {
    "holder_request": "эзэмшигчийн хүсэлт",
    "carrier_missing": "тээгч алга болсон",
    "carrier_found": "тээгч олдсон",
    "carrier_blocked": "тээгч түгжигдсэн",
    "carrier_exchanged": "тээгчийг сольсон",
    "key_compromised": "хувийн түлхүүр алдагдсан",
    "authority_decision": "эрх бүхий байгууллагын шийдвэр",
    "cause_gone": "түдгэлзүүлэх үндэслэл арилсан",
    "death": "нас барсан бүртгэл",
    "citizenship_lost": "харьяатаас гарсан",
    "name_changed": "овог, нэр өөрчлөгдсөн",
    "forged_documents": "хуурамч баримт бичиг",
    "duties_breached": "үүргээ зөрчсөн",
    "position_changed": "албан тушаал өөрчлөгдсөн",
    "officer_left": "ажлаас чөлөөлөгдсөн",
    "contract_ended": "гэрээ дуусгавар болсон",
}


class Notices:
    """Writes a letter to the holder of a certificate whose status a case changed."""

    def __init__(self, outbox: Outbox, data: PersonalData) -> None:
        self._outbox = outbox
        self._data = data

    def of_change(
        self, tx: Transaction, changed: Changed, person: int | None, ground: str, now: datetime
    ) -> None:
        """Write it in this transaction; nothing for a holder who is not on record, or was erased."""
        state, serial = changed.change.to_state, changed.certificate.serial
        self.of_status(tx, changed.sequence, serial, state, now, person, ground, now)

    def of_status(
        self,
        tx: Transaction,
        sequence: int,
        serial: int,
        state: State,
        since: datetime,
        person: int | None,
        ground: str,
        now: datetime,
    ) -> None:
        """Write what a status event told since when, as `of_change` does."""
        if person is None:
            return
        # Of an officer the list has no other than the work mail.
        mail = self._data.read(tx, SUBJECT, person).get("mail") or organizations.work_mail(tx, person)
        if not mail:
            return
        letter = Letter(
            about=f"status-event/{sequence}",
            template=_TEMPLATES[state],
            medium=Medium.MAIL,
            to=mail,
            values={
                "serial": serial_text(serial),
                "at": since.astimezone(ULAANBAATAR).strftime("%Y-%m-%d %H:%M"),
                "ground": GROUNDS_MN[ground],
            },
            person=person,
        )
        self._outbox.write(tx, letter, now)
