"""The civil registry's feed: each message leads to cases of the person's certificates, once.

Messages may come repeated and in any order: what counts is when they took effect. A message, its cases and
what these do to certificates are one commit, so a feed that was cut off is simply sent again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, RefusedError, UnavailableError
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.registry_rules import MESSAGE_RULES, Message, MessageRule
from pkiserver.ra.cases.rules import Channel, Kind, asking, rule_for
from pkiserver.ra.cases.service import Cases, Decision, Entered
from pkiserver.ra.lifecycle import Standing, State
from pkiserver.ra.registration.application_events import withdraw_in
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.people import APPLICATIONS, People
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.renewed import with_renewed
from pkiserver.ra.registration.roles import Action, Actor, Permission, Role
from pkiserver.storage import Storage
from store import applications, certificates, credentials, renewals, status_events
from store import audit as audit_chain
from store import cases as case_rows
from store import registry_messages as rows
from store.database import Transaction
from store.records import CertificateRecord
from store.registry_messages import RegistryMessageRecord

MAX_MESSAGES: Final = 100  # of one batch: some 20 KiB, and a commit each
MAX_AHEAD: Final = timedelta(minutes=5)  # by which the registry's clock may differ
_ENDED: Final = (State.REVOKED, State.EXPIRED)
_CHANNEL: Final = Channel.CIVIL_REGISTRY


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a message.

    `done`: it led to these cases. `nothing`: there was nothing to do. `outdated`: what took effect later is
    known already. `unknown`: nobody on record has this number. `repeated`: it came before. `refused`:
    it lies in the future, or another message had its number; it is not kept.
    """

    id: str
    outcome: str
    cases: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Teller:
    """Who told, and when it came."""

    actor: Actor
    role: Role
    now: datetime


class RegistryFeed:
    """Takes messages of the civil registry."""

    def __init__(
        self, *, storage: Storage, clock: Clock, gate: Gate, data: PersonalData, people: People, cases: Cases
    ) -> None:
        self._data = data
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._people = people
        self._cases = cases

    async def take(self, actor: Actor, messages: Sequence[Message]) -> list[Result]:
        """Carry out what messages lead to, each in a commit of its own; durable when this returns.

        Raises `NotAuthorizedError`, and `RefusedError` for more than a batch holds; `UnavailableError` while
        a certificate is being made for who died: the batch is to be sent again.
        """
        if len(messages) > MAX_MESSAGES:
            raise RefusedError(f"a batch has {MAX_MESSAGES} messages at most")
        acting = asking(actor, _CHANNEL)
        granted = await self._gate.require(Permission(acting, Action.FEED_REGISTRY))
        return [
            await self._take(message, Teller(acting, granted.role, self._clock.now())) for message in messages
        ]

    async def _take(self, message: Message, teller: Teller) -> Result:
        sequences: list[int] = []

        def transaction(tx: Transaction) -> Result:
            sequences.clear()
            result, entered = self.carry_out(tx, message, teller)
            sequences.extend(one.sequence for one in entered if one.sequence is not None)
            return result

        result = await self._storage.write(transaction)
        for sequence in sequences:
            await self._cases.tell(sequence)
        return result

    def carry_out(
        self, tx: Transaction, message: Message, teller: Teller
    ) -> tuple[Result, Sequence[Entered]]:
        """Carry a message out in the caller's transaction, who tells of the events of its cases after."""
        person = self._people.of_civil_id(tx, message.civil_id)
        known = rows.get(tx, message.id)
        if known is not None and _is_same(known, message, person):
            return Result(message.id, "repeated"), ()
        if known is not None or message.effective_at > teller.now + MAX_AHEAD:
            why = "its number is another message's" if known is not None else "it lies in the future"
            _audit(tx, message, teller, "refused", person=person, why=why)
            return Result(message.id, "refused"), ()
        rule, entered = MESSAGE_RULES[message.kind], list[Entered]()
        withdrawn = self._end_applications(tx, message, person, teller) if rule.ends_applications else 0
        if person is None:
            outcome = "unknown"
        elif _is_outdated(tx, message, rule, person):
            outcome = "outdated"
        else:
            for certificate in _concerned(tx, message, rule, person, teller.now):
                entered += self._enter(tx, message, rule, certificate, teller)
            outcome = "done" if entered or withdrawn else "nothing"
        rows.add(tx, _record(message, person, outcome, teller))
        more = {"withdrawn": withdrawn} if withdrawn else {}
        _audit(tx, message, teller, "done", person=person, result=outcome, **more)
        return Result(message.id, outcome, tuple(one.case.id for one in entered)), entered

    def _end_applications(self, tx: Transaction, message: Message, person: int | None, teller: Teller) -> int:
        """Withdraw what a person applied for, with what enrols it; return how many applications that were."""
        drafts = self._data.find(tx, APPLICATIONS, "civil_id", message.civil_id)  # whose nobody verified yet
        of_person = [] if person is None else applications.unissued(tx, person=person)
        open_ones = {one for one in drafts if _is_unissued(tx, one)} | set(of_person)
        for application in sorted(open_ones):
            try:
                withdraw_in(tx, application, teller.actor.name, f"{message.kind.value} was told", teller.now)
            except ConflictError as error:
                raise UnavailableError(f"{error}: send the message again") from error
        if person is not None and (cancelled := credentials.cancel_unused(tx, teller.now, person=person)):
            who = teller.actor.name
            entry = audit.entry(teller.now, who, "credential.cancel", person=person, references=cancelled)
            audit_chain.append(tx, entry)
        return len(open_ones)

    def _enter(
        self,
        tx: Transaction,
        message: Message,
        rule: MessageRule,
        certificate: CertificateRecord,
        teller: Teller,
    ) -> Iterator[Entered]:
        """Enter the cases of one certificate: one, or one for each hold of the registry that ends."""
        held = _holds(tx, certificate)
        if rule.kind is Kind.SUSPEND and held:
            return
        at_once = rule_for(rule.kind, _CHANNEL, rule.ground).deadline.at_once
        if rule.kind is Kind.REVOKE and at_once:
            self._close_open(tx, certificate, teller)
        for lifts in held if rule.kind is Kind.RESTORE else [None]:
            new = NewCase(
                certificate.authority,
                certificate.serial,
                rule.kind,
                _CHANNEL,
                rule.ground,
                lifts=lifts,
                evidence={"message": message.id, "date": message.effective_at.isoformat()},
            )
            yield self._cases.told_by_registry(tx, new, teller.actor, teller.role, teller.now)

    def _close_open(self, tx: Transaction, certificate: CertificateRecord, teller: Teller) -> None:
        """Refuse what waits for a registrar: the certificate is about to be revoked."""
        for case in case_rows.open_of_channel(tx, certificate.authority, certificate.serial, _CHANNEL.value):
            decision = Decision(case.version, False, "the certificate was revoked meanwhile")
            self._cases.carry_out(tx, case, decision, teller.actor.name, teller.now)


def _is_same(known: RegistryMessageRecord, message: Message, person: int | None) -> bool:
    """Return whether a message is the known one; who was not on record then may be now."""
    return (known.sequence, known.kind, known.effective_at) == (
        message.sequence,
        message.kind.value,
        message.effective_at,
    ) and known.person in (None, person)


def _is_outdated(tx: Transaction, message: Message, rule: MessageRule, person: int) -> bool:
    if not rule.undoes:
        return False
    kinds = {message.kind.value, *(one.value for one in rule.undoes)}
    return rows.has_later(tx, person, kinds, message.effective_at, message.sequence, message.id)


def _concerned(
    tx: Transaction, message: Message, rule: MessageRule, person: int, now: datetime
) -> Iterator[CertificateRecord]:
    """Yield the certificates of a person that a message concerns and whose status may still change.

    What renewed another one is among these; on which carrier it is, tells the last one applied for.
    """
    found: dict[tuple[int, int], CertificateRecord] = {}
    for application in applications.all_of_person(tx, person):
        if application.authority is None or application.serial is None:
            continue
        first = certificates.get(tx, application.authority, application.serial)
        for one in with_renewed(tx, first, now) if first is not None else ():
            found[one.authority, one.serial] = one
    for certificate in found.values():
        if _standing(certificate).at(now) in _ENDED or (rule.cards and not _is_on_card(tx, certificate)):
            continue
        if not rule.earlier or certificate.not_before <= message.effective_at:
            yield certificate


def _is_on_card(tx: Transaction, certificate: CertificateRecord) -> bool:
    application = renewals.behind(tx, certificate)
    return application is not None and application.carrier == "id_card"


def _is_unissued(tx: Transaction, application: int) -> bool:
    found = applications.get(tx, application)
    return found is not None and found.state in applications.UNISSUED


def _standing(certificate: CertificateRecord) -> Standing:
    return Standing(State(certificate.state), certificate.not_after)


def _holds(tx: Transaction, certificate: CertificateRecord) -> list[int | None]:
    """Return the cases of the registry whose holds on a certificate are open."""
    found = [
        case_rows.get(tx, hold.decision)
        for hold in status_events.open_holds(tx, certificate.authority, certificate.serial)
        if hold.decision is not None
    ]
    return [case.id for case in found if case is not None and case.channel == _CHANNEL.value]


def _record(message: Message, person: int | None, outcome: str, teller: Teller) -> RegistryMessageRecord:
    return RegistryMessageRecord(
        id=message.id,
        sequence=message.sequence,
        kind=message.kind.value,
        effective_at=message.effective_at,
        person=person,
        outcome=outcome,
        received_at=teller.now,
        received_by=teller.actor.name,
    )


def _audit(tx: Transaction, message: Message, teller: Teller, outcome: str, **more: Any) -> None:
    entry = audit.entry(
        teller.now,
        teller.actor.name,
        "registry.message",
        outcome,
        message=message.id,
        kind=message.kind.value,
        effective_at=message.effective_at.isoformat(),
        **more,
    )
    audit_chain.append(tx, entry)
