"""The tokens of an organisation: what it received, who has which one, what came back or was lost.

Several a person. With a token that is given back, or lost, end the certificates on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiserver import audit
from pkiserver.bounds import MAX_LIST
from pkiserver.ca.issuance import OnEvent
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, RefusedError
from pkiserver.ra.cases.rules import GROUNDS
from pkiserver.ra.letters.notices import Notices
from pkiserver.ra.lifecycle import Action as StatusAction
from pkiserver.ra.lifecycle import Command, HoldOwner
from pkiserver.ra.registration.carriers import Event, State, parse_carrier_serial, record
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.kept_codes import KeptCodes
from pkiserver.ra.registration.organizations import found_organization
from pkiserver.ra.registration.renewed import with_renewed
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.ra.registration.states import MAX_GROUND_CHARACTERS
from pkiserver.ra.status_changes import change_status
from pkiserver.storage import Storage
from store import applications, certificates
from store import audit as audit_chain
from store import carriers as rows
from store.carriers import CarrierRecord
from store.database import Transaction
from store.records import CertificateRecord

KIND: Final = "token"
MAX_RECEIVED: Final = 2_000  # serials of a list, one transaction
MAX_LIST_OCTETS: Final = 64 << 10
# On which ground what is on a token ends with it; None: it does not.
_ENDS: Final = {Event.LOSE: "carrier_missing", Event.RETURN: "holder_request"}


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a list: taken in now, and known before."""

    received: int
    known: int


class Tokens:
    """Keeps the inventory of tokens; `on_event` is awaited for what it revokes."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        codes: KeptCodes,
        notices: Notices,
        on_event: OnEvent,
    ) -> None:
        self._codes = codes
        self._notices = notices
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._on_event = on_event

    async def receive(self, actor: Actor, number: str, octets: bytes, paper: str) -> Received:
        """Take in the tokens of a list, a serial a line; all of it or nothing, and sent again it is known.

        Raises `RefusedError` for what is no list, and `ConflictError` for another organisation's token.
        """
        serials, why = read_serials(octets), parse_line(paper, MAX_GROUND_CHARACTERS)
        organization = await self._permitted(actor, Action.MANAGE_CONTRACT, number)
        now = self._clock.now()

        def transaction(tx: Transaction) -> Received:
            taken = sum(self._take_in(tx, organization, serial) for serial in serials)
            entry = audit.entry(
                now, actor.name, "token.receive", organization=organization, received=taken, paper=why
            )
            audit_chain.append(tx, entry)
            return Received(taken, len(serials) - taken)

        return await self._storage.write(transaction)

    async def listed(
        self, actor: Actor, number: str, *, state: State | None = None, after: int = 0, limit: int = 100
    ) -> list[CarrierRecord]:
        """Return the tokens of an organisation in the order they came in, behind the number `after`."""
        organization = await self._permitted(actor, Action.READ_ORGANIZATION, number)
        most, wanted = max(1, min(limit, MAX_LIST)), None if state is None else state.value
        return await self._storage.read(
            lambda tx: rows.of_organization(tx, organization, wanted, after, most)
        )

    async def assign(self, actor: Actor, number: str, serial: str, application: int) -> CarrierRecord:
        """Note that a token bears the certificate of an application, and is its holder's."""
        organization = await self._permitted(actor, Action.MANAGE_OFFICERS, number)
        now = self._clock.now()

        def transaction(tx: Transaction) -> CarrierRecord:
            token = found_token(tx, organization, serial)
            made = applications.get(tx, application)
            if made is None or made.organization != organization:
                raise NotFoundError(f"no application {application} of this organisation")
            if made.authority is None or made.serial is None:
                raise ConflictError(f"application {application} has no certificate yet")
            record(tx, token, Event.ISSUE, actor=actor.name, ground=f"application {application}", now=now)
            rows.set_person(tx, token.id, made.person)
            rows.put_certificate(tx, token.id, made.authority, made.serial)
            return found_token(tx, organization, serial)

        return await self._storage.write(transaction)

    async def move(self, actor: Actor, number: str, serial: str, event: Event, ground: str) -> CarrierRecord:
        """Note that a token was returned, lost, damaged or retired; see `_ENDS` for what is on it."""
        if event not in (Event.RETURN, Event.LOSE, Event.DAMAGE, Event.RETIRE):
            raise RefusedError("a token is returned, lost, damaged or retired")
        why = parse_line(ground, MAX_GROUND_CHARACTERS)
        organization = await self._permitted(actor, Action.MANAGE_OFFICERS, number)
        now, events = self._clock.now(), list[int]()

        def transaction(tx: Transaction) -> CarrierRecord:
            token = found_token(tx, organization, serial)
            record(tx, token, event, actor=actor.name, ground=why, now=now)
            if event is Event.RETURN:
                rows.set_person(tx, token.id, None)
            else:
                self._codes.forget(tx, token)  # it does not come back
            events[:] = self._end(tx, token, event, actor.name, now)
            return found_token(tx, organization, serial)

        moved = await self._storage.write(transaction)
        for sequence in events:
            await self._on_event(sequence)
        return moved

    def _end(
        self, tx: Transaction, token: CarrierRecord, event: Event, actor: str, now: datetime
    ) -> list[int]:
        """Revoke what is on a token that ends with it, renewed there too, and tell its holder."""
        ground, sequences = _ENDS.get(event), list[int]()
        if ground is None:
            return sequences
        command = Command(StatusAction.REVOKE, HoldOwner.AUTHORITY, GROUNDS[ground].reason)
        for one in _on_token(tx, token, now):
            changed = change_status(tx, one.authority, one.serial, command, actor, now)
            self._notices.of_change(tx, changed, token.person, ground, now)
            sequences.append(changed.sequence)
        return sequences

    def _take_in(self, tx: Transaction, organization: int, serial: str) -> bool:
        known = rows.with_serial(tx, KIND, serial)
        if known is not None and known.organization not in (None, organization):
            raise ConflictError(f"token {serial} is of another organisation")
        if known is not None and known.organization == organization:
            return False
        token = known or rows.add(tx, KIND, serial)
        rows.set_organization(tx, token.id, organization)
        return True

    async def _permitted(self, actor: Actor, action: Action, number: str) -> int:
        found = await self._storage.read(lambda tx: found_organization(tx, number))
        await self._gate.require(Permission(actor, action, Target(organization=found.id)))
        return found.id


def read_serials(octets: bytes) -> Sequence[str]:
    """Return the serials of a list, a line each, without repetitions; `RefusedError` names the wrong line."""
    if len(octets) > MAX_LIST_OCTETS:
        raise RefusedError(f"a list of tokens has {MAX_LIST_OCTETS >> 10} KiB at most")
    try:
        lines = octets.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RefusedError("a list of tokens is text in UTF-8") from error
    found: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or (number == 1 and text.lower() == "serial"):
            continue
        try:
            found[parse_carrier_serial(text)] = None
        except RefusedError as error:
            raise RefusedError(f"line {number}: {error}") from error
    if not 1 <= len(found) <= MAX_RECEIVED:
        raise RefusedError(f"a list names 1 to {MAX_RECEIVED} tokens")
    return tuple(found)


def found_token(tx: Transaction, organization: int, serial: str) -> CarrierRecord:
    """Return a token of an organisation; `NotFoundError` for none, and for another one's."""
    found = rows.with_serial(tx, KIND, parse_carrier_serial(serial))
    if found is None or found.organization != organization:
        raise NotFoundError("no such token of this organisation")
    return found


def _on_token(tx: Transaction, token: CarrierRecord, now: datetime) -> list[CertificateRecord]:
    """Return what is in use on a token; what was revoked there is an earlier holder's, or nobody's."""
    firsts = [certificates.get(tx, *named) for named in rows.certificates_on(tx, token.id)]
    found = {
        (one.authority, one.serial): one
        for first in firsts
        if first is not None and first.state != "revoked"
        for one in with_renewed(tx, first, now)
        if one.not_after >= now
    }
    return list(found.values())
