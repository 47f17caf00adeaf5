"""What the plant says of each card: issued, or failed. A failed one ends its certificate and comes back.

A result stays: repeated it changes nothing, and another one is refused. Everything that a result leads to is
one transaction: whenever the server stops, no card is failed whose certificate lives on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, RefusedError, UnavailableError
from pkiserver.ra import lifecycle
from pkiserver.ra.registration import carriers
from pkiserver.ra.registration.application_events import found_application, move_on
from pkiserver.ra.registration.carriers import known_or_new, parse_carrier_serial
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.issuing import note_issued
from pkiserver.ra.registration.plant import found_batch, found_card
from pkiserver.ra.registration.roles import Action, Actor, Permission, Role, Target
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS, Event, State
from pkiserver.ra.status_changes import Changed, StatusChanges, change_status
from pkiserver.storage import Storage
from protocols.asn1.ocsp import CRLReason
from store import applications, certificates, cmp_transactions, credentials, issuances
from store import audit as audit_chain
from store import carriers as carrier_rows
from store import plant as rows
from store.applications import ApplicationRecord
from store.database import Transaction
from store.plant import CardRecord, Result
from store.records import CertificateRecord

_KIND: Final = "id_card"
_LIVE: Final = (lifecycle.State.ACTIVE, lifecycle.State.SUSPENDED)


class Failure(Enum):
    """Why a card failed."""

    CARRIER_REFUSED = "carrier_refused"  # the chip did not take its certificate
    DAMAGED = "damaged"
    MISPRINTED = "misprinted"
    LOST = "lost"
    NOT_DELIVERED = "not_delivered"  # no card was made, or the certificate never came to it


@dataclass(frozen=True, slots=True)
class _Consequence:
    """What a failure means: for the certificate, and for the carrier where its serial is known."""

    reason: CRLReason
    carrier: carriers.Event | None


# Another certificate takes its place; but whoever finds a lost card finds its key, too.
CONSEQUENCES: Final[Mapping[Failure, _Consequence]] = {
    Failure.CARRIER_REFUSED: _Consequence(CRLReason.SUPERSEDED, carriers.Event.DAMAGE),
    Failure.DAMAGED: _Consequence(CRLReason.SUPERSEDED, carriers.Event.DAMAGE),
    Failure.MISPRINTED: _Consequence(CRLReason.SUPERSEDED, carriers.Event.DAMAGE),
    Failure.LOST: _Consequence(CRLReason.KEY_COMPROMISE, carriers.Event.LOSE),
    Failure.NOT_DELIVERED: _Consequence(CRLReason.SUPERSEDED, None),
}


def issued(carrier: str) -> Result:
    """Return the result of a card that was made: the serial of its chip is known."""
    return Result("issued", carrier=parse_carrier_serial(carrier))


def failed(failure: str, reason: str, carrier: str | None = None) -> Result:
    """Return the result of a card that was not made; `RefusedError` for no good reason."""
    if failure not in {one.value for one in Failure}:
        raise RefusedError(f"a failure is one of {', '.join(one.value for one in Failure)}")
    if not reason.strip() or len(reason) > MAX_GROUND_CHARACTERS or not reason.isprintable():
        raise RefusedError(f"a reason of 1 to {MAX_GROUND_CHARACTERS} printable characters is required")
    serial = parse_carrier_serial(carrier) if carrier is not None else None
    if serial is not None and CONSEQUENCES[Failure(failure)].carrier is None:
        raise RefusedError(f"{failure} says nothing of a carrier: name none")
    return Result("failed", failure, reason, serial)


class PlantResults:
    """Takes the results of cards."""

    def __init__(self, storage: Storage, clock: Clock, gate: Gate, status_changes: StatusChanges) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._status_changes = status_changes

    async def report(self, actor: Actor, batch: int, reference: str, result: Result) -> CardRecord:
        """Take the result of a card; durable when this returns.

        `ConflictError` where it has another result, or where what it says cannot be;
        `UnavailableError` while its certificate is being made.
        """

        def look(tx: Transaction) -> tuple[str, ApplicationRecord]:
            card = found_card(tx, batch, reference)
            return found_batch(tx, batch).plant, found_application(tx, card.application)

        plant, application = await self._storage.read(look)
        target = Target(plant=plant, holder=application.person)
        # By the role of a plant: whoever issues applications at every office made none of these cards.
        by_plant = replace(
            actor, assignments=tuple(one for one in actor.assignments if one.role is Role.PLANT)
        )
        await self._gate.require(Permission(by_plant, Action.ISSUE_APPLICATION, target))
        now = self._clock.now()
        card, changed = await self._storage.write(
            lambda tx: _taken(tx, found_card(tx, batch, reference), result, actor.name, now)
        )
        if changed is not None:
            await self._status_changes.announce(changed)
        return card


def _taken(
    tx: Transaction, card: CardRecord, result: Result, by: str, now: datetime
) -> tuple[CardRecord, Changed | None]:
    if card.result is not None:
        if card.result != result:
            raise ConflictError(f"the card has its result already: {card.result.outcome}")
        return card, None
    application = _settled(tx, card, now)
    bears = _certificate(tx, application)
    changed: Changed | None = None
    if result.outcome == "issued":
        _issue(tx, card, application, bears, result, by, now)
    else:
        changed = _fail(tx, card, application, bears, result, by, now)
    named = (bears.authority, bears.serial) if bears is not None else None
    is_last = rows.set_result(tx, card.reference, result, certificate=named, by=by, now=now)
    _audit(tx, card, result, by, now)
    if is_last:
        audit_chain.append(tx, audit.entry(now, by, "plant.close", batch=card.batch))
    return found_card(tx, card.batch, card.reference), changed


def _settled(tx: Transaction, card: CardRecord, now: datetime) -> ApplicationRecord:
    """Return a card's application, which knows of its certificate; `UnavailableError` while that is made."""
    application = found_application(tx, card.application)
    credential = credentials.get(tx, card.reference)
    made = issuances.of_credential(tx, credential.id) if credential is not None else None
    if made is None:
        return application
    if made.state != "issued":
        raise UnavailableError("the certificate of the card is being made: report again")
    waiting = applications.awaiting(tx, made.authority, made.serial)
    return application if waiting is None else note_issued(tx, waiting, made.authority, made.serial, now)


def _certificate(tx: Transaction, application: ApplicationRecord) -> CertificateRecord | None:
    """Return what an application was issued; None before it was, whatever it had before."""
    if application.state != State.ISSUED.value or application.authority is None or application.serial is None:
        return None
    return certificates.get(tx, application.authority, application.serial)


def _issue(
    tx: Transaction,
    card: CardRecord,
    application: ApplicationRecord,
    bears: CertificateRecord | None,
    result: Result,
    by: str,
    now: datetime,
) -> None:
    if bears is None:
        raise ConflictError("the card has no certificate: enrol it, or report it failed")
    if lifecycle.Standing(lifecycle.State(bears.state), bears.not_after).at(now) not in _LIVE:
        raise ConflictError(f"the certificate of the card is {bears.state}: report it failed")
    if cmp_transactions.is_unconfirmed(tx, bears.authority, bears.serial):
        raise ConflictError("the certificate is not confirmed yet (RFC 9810 §5.3.18)")
    carrier = known_or_new(tx, _KIND, result.carrier or "")
    if carrier.state != carriers.State.ISSUED.value:
        carriers.record(
            tx, carrier, carriers.Event.ISSUE, actor=by, ground=f"made in batch {card.batch}", now=now
        )
        carrier_rows.set_person(tx, carrier.id, application.person)
    elif carrier.person != application.person:
        raise ConflictError(f"carrier {carrier.serial} is somebody else's")
    carrier_rows.put_certificate(tx, carrier.id, bears.authority, bears.serial)


def _fail(
    tx: Transaction,
    card: CardRecord,
    application: ApplicationRecord,
    bears: CertificateRecord | None,
    result: Result,
    by: str,
    now: datetime,
) -> Changed | None:
    """End what the card had, and bring its application back to those that wait for a card."""
    failure = Failure(result.failure)
    consequence, ground = CONSEQUENCES[failure], f"the card failed: {failure.value}"
    credentials.cancel(tx, card.reference, now)
    if result.carrier is not None and consequence.carrier is not None:
        carrier = known_or_new(tx, _KIND, result.carrier)
        if carrier.state != carriers.State.BLANK.value:
            raise ConflictError(f"carrier {carrier.serial} is {carrier.state}: it was not of this card")
        carriers.record(tx, carrier, consequence.carrier, actor=by, ground=ground, now=now)
    changed = None
    if bears is not None:
        changed = _revoked(tx, bears, consequence.reason, by, now)
        application = move_on(tx, application, Event.CARRIER_REFUSED, by=by, ground=ground, now=now)
    if application.state == State.ISSUING.value:
        move_on(tx, application, Event.FAIL, by=by, ground=ground, now=now)
    return changed


def _revoked(
    tx: Transaction, bears: CertificateRecord, reason: CRLReason, by: str, now: datetime
) -> Changed | None:
    """Revoke a certificate, unless somebody did, or it ended by itself."""
    if lifecycle.Standing(lifecycle.State(bears.state), bears.not_after).at(now) not in _LIVE:
        return None
    command = lifecycle.Command(lifecycle.Action.REVOKE, reason=reason)
    return change_status(tx, bears.authority, bears.serial, command, by, now)


def _audit(tx: Transaction, card: CardRecord, result: Result, by: str, now: datetime) -> None:
    entry = audit.entry(
        now,
        by,
        f"plant.{result.outcome}",
        batch=card.batch,
        application=card.application,
        attempt=card.attempt,
        failure=result.failure,
        carrier=result.carrier,
    )
    audit_chain.append(tx, entry)
