"""A token that is blocked: its unblock code is taken over from the station, and released once to its holder.

The holder answers a challenge that went to the mail on record. What is released is not kept: neither here nor
with the answer of the API. The token is then to get another code, which the station hands over again.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, DeniedError, TooManyRequestsError
from pkiserver.ra.cases.rules import Channel, Kind
from pkiserver.ra.cases.service import Cases, Decision
from pkiserver.ra.letters.outbox import Letter, Medium, Outbox
from pkiserver.ra.lifecycle import Standing
from pkiserver.ra.lifecycle import State as CertificateState
from pkiserver.ra.registration.carriers import Event, State, record
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.kept_codes import KeptCodes, require_code
from pkiserver.ra.registration.organizations import found_organization
from pkiserver.ra.registration.roles import Action, Actor, Permission, Role, Target
from pkiserver.ra.registration.tokens import KIND, found_token
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import carriers, certificates, organizations
from store import unblock_codes as rows
from store.carriers import CarrierRecord
from store.cases import NewCaseRecord
from store.database import Transaction
from store.records import CertificateRecord
from store.unblock_codes import NewChallenge, UnblockCodeRecord

LIFETIME: Final = timedelta(minutes=10)
ATTEMPTS: Final = 5  # people mistype
WINDOW: Final = timedelta(hours=1)
MAX_ASKED: Final = 3  # challenges of a token in a window: so many letters, and `ATTEMPTS` guesses at each
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # RFC 4648 §6: no digit looks like a letter
CHARACTERS: Final = 12  # 60 bits: not found by trying them against the hash before it runs out
_GROUP: Final = 4
_GROUND: Final = "carrier_blocked"
_CHANNELS: Final = {Role.SERVICE: Channel.SELF_SERVICE, Role.ORG_OFFICER: Channel.ORGANIZATION}


@dataclass(frozen=True, slots=True)
class Asked:
    """A challenge is on its way to the mail on record."""

    expires_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Released:
    """The unblock code of a token, which nobody is told again."""

    code: str = field(repr=False)


class Unblocking:
    """Takes codes over, and releases them."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        codes: KeptCodes,
        outbox: Outbox,
        cases: Cases,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._codes = codes
        self._outbox = outbox
        self._cases = cases

    async def take_over(self, actor: Actor, number: str, serial: str, code: str) -> UnblockCodeRecord:
        """Keep the unblock code that the personalising station gave a token; the same again is known.

        `ConflictError` while another one is kept that was not used, unless the token is blank: it was wiped.
        """
        require_code(code, "an unblock code")
        organization, _ = await self._permitted(actor, Action.HAND_OVER_CODES, number, serial)
        now = self._clock.now()

        def transaction(tx: Transaction) -> UnblockCodeRecord:
            token = found_token(tx, organization, serial)
            if State(token.state) not in (State.BLANK, State.ISSUED, State.BLOCKED):
                raise ConflictError(f"token {token.serial} is {token.state}: it needs no unblock code")
            if self._codes.keep(tx, token, code, actor.name, now):
                _audit(tx, "token.code.keep", token, actor.name, now, number=_record(tx, token).number)
            return _record(tx, token)

        return await self._storage.write(transaction)

    async def ask(self, actor: Actor, number: str, serial: str) -> Asked:
        """Send a challenge to the mail on record of who has the token; one sent before is no more.

        `ConflictError` where the token is not its holder's to unblock, see `_require_usable`, or no code is
        kept; `TooManyRequestsError` for more than `MAX_ASKED` within `WINDOW`.
        """
        organization, _ = await self._permitted(actor, Action.UNBLOCK_CARRIER, number, serial)
        now, text = self._clock.now(), _random_text()

        def transaction(tx: Transaction) -> Asked:
            token = found_token(tx, organization, serial)
            _require_usable(tx, token, now)
            rows.challenge(tx, token.id, _next(_record(tx, token), _hash(token, text), now))
            if token.state == State.ISSUED.value:
                record(tx, token, Event.BLOCK, actor=actor.name, ground=_GROUND, now=now)
            letter = self._write(tx, token, text, now)
            _audit(tx, "token.unblock.ask", token, actor.name, now, letter=letter)
            return Asked(now + LIFETIME, ATTEMPTS)

        return await self._storage.write(transaction)

    async def release(self, actor: Actor, number: str, serial: str, answer: str) -> Released:
        """Return the unblock code, once, to who has the challenge of the letter.

        `DeniedError` for a wrong answer, which costs an attempt, and where no challenge waits for one.
        """
        organization, role = await self._permitted(actor, Action.UNBLOCK_CARRIER, number, serial)
        now = self._clock.now()

        def transaction(tx: Transaction) -> Released | None:
            token = found_token(tx, organization, serial)
            bears = _require_usable(tx, token, now)
            if not _is_right(_record(tx, token), _hash(token, answer), now):
                rows.spend_attempt(tx, token.id)
                left = _record(tx, token).attempts_left
                _audit(tx, "token.unblock", token, actor.name, now, "refused", attempts_left=left)
                return None
            released = Released(self._codes.take_out(tx, token, actor.name, now))
            record(tx, token, Event.UNBLOCK, actor=actor.name, ground=_GROUND, now=now)
            self._enter_case(tx, token, bears, actor, role, now)
            _audit(tx, "token.unblock", token, actor.name, now)
            return released

        released = await self._storage.write(transaction)
        if released is None:
            raise DeniedError("the answer is wrong, or its challenge has run out: look at the letter again")
        return released

    async def _permitted(self, actor: Actor, action: Action, number: str, serial: str) -> tuple[int, Role]:
        """Return the organisation, and by which role it is allowed; whose token it is counts, too."""

        def look(tx: Transaction) -> tuple[int, int | None]:
            organization = found_organization(tx, number).id
            token = carriers.with_serial(tx, KIND, serial.upper())
            own = token is not None and token.organization == organization
            return organization, token.person if token is not None and own else None

        organization, holder = await self._storage.read(look)
        target = Target(organization=organization, holder=holder)
        granted = await self._gate.require(Permission(actor, action, target))
        return organization, granted.role

    def _write(self, tx: Transaction, token: CarrierRecord, text: str, now: datetime) -> int | None:
        groups = "-".join(text[at : at + _GROUP] for at in range(0, CHARACTERS, _GROUP))
        letter = Letter(
            about=f"unblock/{token.id}/{secrets.token_hex(8)}",
            template="unblock-challenge",
            medium=Medium.MAIL,
            to=_work_mail(tx, token),
            values={
                "challenge": groups,
                "token": token.serial,
                "minutes": str(int(LIFETIME.total_seconds()) // 60),
            },
            person=token.person,
            lives=LIFETIME,
        )
        return self._outbox.write(tx, letter, now)

    def _enter_case(
        self,
        tx: Transaction,
        token: CarrierRecord,
        bears: CertificateRecord,
        actor: Actor,
        role: Role,
        now: datetime,
    ) -> None:
        """Enter the case, granted; one that waits for a decision by the same channel is granted with it."""
        new = NewCaseRecord(
            kind=Kind.UNBLOCK.value,
            channel=_CHANNELS[role].value,
            ground=_GROUND,
            authority=bears.authority,
            serial=bears.serial,
            office=None,
            person=token.person,
            organization=token.organization,
            lifts=None,
            evidence="{}",
            received_at=now,
            due_at=now,
            entered_by=actor.name,
            entered_role=role.value,
            entered_person=actor.person,
        )
        case = self._cases.enter(tx, new).case
        if case.decided_at is None:
            decision = Decision(case.version, True, "the challenge was answered")
            self._cases.carry_out(tx, case, decision, actor.name, now)


def _record(tx: Transaction, token: CarrierRecord) -> UnblockCodeRecord:
    found = rows.get(tx, token.id)
    if found is None:
        raise ConflictError(f"no unblock code of token {token.serial} is kept: bring it to the specialist")
    return found


def _work_mail(tx: Transaction, token: CarrierRecord) -> str:
    """Return the mail of who has the token, as an officer of the organisation whose it is."""
    officers = organizations.officers_of_person(tx, token.person) if token.person is not None else []
    mails = [one.mail for one in officers if one.organization == token.organization and one.left_at is None]
    if not mails or mails[-1] is None:
        raise ConflictError(f"who has token {token.serial} is no officer with a work mail any more")
    return mails[-1]


def _require_usable(tx: Transaction, token: CarrierRecord, now: datetime) -> CertificateRecord:
    """Return a certificate on the token that is in force.

    `ConflictError` for a token that is nobody's, lost, damaged or retired, and where what is on it is
    suspended, revoked or over: a hold is not got round with a new PIN.
    """
    if State(token.state) not in (State.ISSUED, State.BLOCKED):
        raise ConflictError(f"token {token.serial} is {token.state}: it is not unblocked")
    bears = [certificates.get(tx, *named) for named in carriers.certificates_on(tx, token.id)]
    by_state = {
        Standing(CertificateState(one.state), one.not_after).at(now): one for one in bears if one is not None
    }
    if CertificateState.ACTIVE not in by_state or CertificateState.SUSPENDED in by_state:
        raise ConflictError(
            f"what is on token {token.serial} is suspended, revoked or expired: it is not unblocked"
        )
    return by_state[CertificateState.ACTIVE]


def _next(known: UnblockCodeRecord, digest: bytes, now: datetime) -> NewChallenge:
    """Return another challenge of a token, counted; errors as `Unblocking.ask` has them."""
    if known.state != rows.KEPT:
        raise ConflictError("the unblock code was used: the token gets another one from the specialist")
    since, asked = known.asked_since, known.asked
    if since is None or not since <= now < since + WINDOW:
        since, asked = now, 0
    if asked >= MAX_ASKED:
        raise TooManyRequestsError(
            f"for this token {MAX_ASKED} challenges were sent within an hour", since + WINDOW - now
        )
    return NewChallenge(digest, now + LIFETIME, ATTEMPTS, since, asked + 1)


def _is_right(known: UnblockCodeRecord, digest: bytes, now: datetime) -> bool:
    waits = known.expires_at is not None and now < known.expires_at and known.attempts_left > 0
    return hmac.compare_digest(known.challenge_hash or b"", digest) and waits and known.state == rows.KEPT


def _random_text() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(CHARACTERS))


def _hash(token: CarrierRecord, text: str) -> bytes:
    """Return what is kept of a challenge of this token and who has it now.

    As it is typed, capitals and hyphens do not matter.
    """
    typed = text.upper().replace("-", "").replace(" ", "")
    return hashlib.sha256(f"unblock challenge/{token.serial}/{token.person}/{typed}".encode()).digest()


def _audit(
    tx: Transaction,
    action: str,
    token: CarrierRecord,
    actor: str,
    now: datetime,
    outcome: str = "done",
    **detail: Any,
) -> None:
    entry = audit.entry(
        now, actor, action, outcome, carrier=token.id, organization=token.organization, **detail
    )
    audit_chain.append(tx, entry)
