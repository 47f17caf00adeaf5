"""PIN and PUK of a carrier that was made: handed over once by who personalised it, and sent to its holder.

The PIN goes by SMS, the PUK and guidance by mail (regulation 2.5): whoever reads one of them has not the
other. They are kept in the outbox alone, encrypted, until they are delivered or have waited too long.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, RefusedError
from pkiserver.ra.letters.outbox import Letter, Medium, Outbox
from pkiserver.ra.registration.application_events import found_application
from pkiserver.ra.registration.applications import PLANT
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.kept_codes import require_code
from pkiserver.ra.registration.people import APPLICATIONS, SUBJECT
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.ra.registration.states import State
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import plant
from store.applications import ApplicationRecord
from store.database import Transaction

LIVES: Final = timedelta(days=3)  # in the outbox: a telephone may be switched off over a weekend
_STATES: Final = (State.ISSUED, State.SIGNED_OFF, State.DELIVERED)


@dataclass(frozen=True, slots=True)
class Codes:
    """PIN and PUK; no PUK of an organisation's token, whose unblock code is kept here."""

    pin: str = field(repr=False)
    puk: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The numbers of the letters that the codes go by."""

    sms: int
    mail: int


class CarrierCodes:
    """Takes PIN and PUK over, a carrier once."""

    def __init__(
        self, *, storage: Storage, clock: Clock, gate: Gate, data: PersonalData, outbox: Outbox
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data
        self._outbox = outbox

    async def hand_over(self, actor: Actor, application: int, codes: Codes) -> HandedOver:
        """Put the codes of an application's carrier in the outbox; both, or none.

        `ConflictError` where they were handed over, there is no certificate, or no way to reach the holder.
        """
        require_code(codes.pin, "a PIN")
        if codes.puk is not None:
            require_code(codes.puk, "a PUK")
        target = await self._storage.read(lambda tx: _target(tx, found_application(tx, application)))
        await self._gate.require(Permission(actor, Action.HAND_OVER_CODES, target))
        now = self._clock.now()

        def transaction(tx: Transaction) -> HandedOver:
            of = found_application(tx, application)
            _require_ready(of, codes)
            written = self._written(tx, of, codes, now)
            entry = audit.entry(
                now, actor.name, "carrier.codes", application=of.id, sms=written.sms, mail=written.mail
            )
            audit_chain.append(tx, entry)
            return written

        return await self._storage.write(transaction)

    def _written(self, tx: Transaction, of: ApplicationRecord, codes: Codes, now: datetime) -> HandedOver:
        phone, mail = self._reached_by(tx, of)
        sms = self._letter(tx, of, Medium.SMS, phone, {"pin": codes.pin}, now)
        return HandedOver(sms, self._letter(tx, of, Medium.MAIL, mail, {"puk": codes.puk or ""}, now))

    def _reached_by(self, tx: Transaction, of: ApplicationRecord) -> tuple[str, str]:
        """Return telephone and mail: a citizen's as they are on record now, an officer's as in the list."""
        if of.organization is None:
            kept = self._data.read(tx, SUBJECT, of.person or 0, ("phone", "mail"))
            phone, mail = kept.get("phone"), kept.get("mail")
        else:
            form = json.loads(self._data.read(tx, APPLICATIONS, of.id, ("form",)).get("form", "{}"))
            phone, mail = form.get("work_phone"), form.get("work_mail")
        if phone is None or mail is None:
            raise ConflictError("of the holder no telephone or no mail address is on record")
        return phone, mail

    def _letter(
        self,
        tx: Transaction,
        of: ApplicationRecord,
        medium: Medium,
        to: str,
        values: dict[str, str],
        now: datetime,
    ) -> int:
        about = f"carrier-codes/{of.id}/{of.authority}/{of.serial:x}"  # another certificate, another carrier
        letter = Letter(about, "carrier-codes", medium, to, values, person=of.person, lives=LIVES)
        written = self._outbox.write(tx, letter, now)
        if written is None:
            raise ConflictError("the codes of this carrier were handed over before")
        return written


def _target(tx: Transaction, of: ApplicationRecord) -> Target:
    """Return where a carrier is made: at the plant that has its card, at the office, for an organisation."""
    if of.delivery != PLANT:
        return Target(office=of.office, organization=of.organization, holder=of.person)
    cards = plant.of_application(tx, of.id)
    batch = plant.batch(tx, cards[-1].batch) if cards else None
    return Target(plant=batch.plant if batch else None, holder=of.person)


def _require_ready(of: ApplicationRecord, codes: Codes) -> None:
    if State(of.state) not in _STATES or of.authority is None:
        raise ConflictError(f"application {of.id} is {of.state}: there is no carrier that has codes")
    if (codes.puk is None) != (of.organization is not None):
        raise RefusedError("a citizen's carrier has a PUK; an organisation's token has its unblock code kept")
