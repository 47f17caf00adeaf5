"""Enrolments that await approval: asked for, decided by people, and then made into one certificate each.

Two requests are the same where who asks, the identity that would be certified and the key are; neither the
signature of the request nor what the profile ignores in it counts.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from config.schema_est import Approval
from pkiserver import audit
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.authorized_request import AuthorizedRequest, key_hash
from pkiserver.ca.issuance import Issuance
from pkiserver.ca.issuance_rules import NotTakenError
from pkiserver.clock import Clock
from pkiserver.errors import (
    ConflictError,
    NotAuthorizedError,
    NotFoundError,
    PendingError,
    RefusedError,
    UnavailableError,
)
from pkiserver.ra.undelivered import untaken
from pkiserver.storage import Storage
from protocols.x509.names import san_text, subject_text
from store import audit as audit_chain
from store import enrollments, issuances
from store.database import Transaction
from store.enrollments import Application, Decision
from store.records import EnrollmentRecord

MAX_REASON_CHARACTERS: Final = 200  # a line of an answer holds 300, what precedes it included

Standing = Literal["waiting", "approved", "refused", "issued", "expired"]


@dataclass(frozen=True, slots=True)
class _Step:
    """What a decision is called, and in which states it may be taken."""

    action: str
    states: frozenset[Standing]


_STEPS: Final[Mapping[Decision, _Step]] = {
    "approved": _Step("enrollment.approve", frozenset({"waiting"})),
    "refused": _Step("enrollment.refuse", frozenset({"waiting", "approved"})),  # an approval is taken back
}


def standing(record: EnrollmentRecord, now: datetime) -> Standing:
    """Return how an enrolment stands: what is open runs out, what was refused or issued stays so."""
    if record.state in ("waiting", "approved") and record.expires_at <= now:
        return "expired"
    return record.state


class Approvals:
    """Has certificates issued at once, or once they were approved, as their profile says.

    `decided` counts the decisions.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        authorities: Authorities,
        issuance: Issuance,
        settings: Approval,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._issuance = issuance
        self._settings = settings
        self.decided: Counter[Decision] = Counter({"approved": 0, "refused": 0})

    async def obtain(
        self, request: AuthorizedRequest, *, until: datetime | None = None, for_others: bool = False
    ) -> bytes:
        """Return the DER certificate of a request that its profile lets through, or that was approved.

        The same request repeated, because its answer was lost, gets the same certificate (ADR 0004).
        `PendingError` while nobody has decided; `NotAuthorizedError` with the reason of a refusal;
        `ConflictError` where who asks has too many open, of which one who asks `for_others` may have
        more; and what `Issuance` raises. An enrolment runs out at `until`, if not before.
        """
        if not request.profile.approval:
            return await self._issue_once(request)
        application = self._application(request)
        found = await self._storage.read(lambda tx: enrollments.latest(tx, application))
        now = self._clock.now()
        if found is not None:
            match standing(found, now):
                case "approved":
                    return await self._issue_approved(request, found)
                case "refused" if found.expires_at > now:
                    raise NotAuthorizedError(f"enrolment {found.id} was refused: {found.reason}")
                case "waiting":
                    raise self._pending(found)
                case "issued" if (again := await self._untaken(found)) is not None:
                    return again
        raise self._pending(await self._apply(request, application, until, for_others=for_others))

    async def decide(
        self, enrollment: int, decision: Decision, by: str, reason: str | None
    ) -> EnrollmentRecord:
        """Decide on an enrolment; `NotFoundError`, `ConflictError`, and `RefusedError` for no good reason.

        `NotAuthorizedError` for one's own: four eyes see each.
        """
        if decision == "refused":
            _require_reason(reason)
        now = self._clock.now()
        decided = await self._storage.write(lambda tx: _decide(tx, enrollment, decision, by, reason, now))
        self.decided[decision] += 1
        return decided

    def _application(self, request: AuthorizedRequest) -> Application:
        return Application(
            # The first generation stands for all: a roll-over makes no other application of it.
            authority=self._authorities.generations(request.authority)[0].id,
            profile=request.profile.name,
            subject=subject_text(request.identity.subject),
            san=tuple(sorted(san_text(name) for name in request.identity.san)),
            limit_mnt=request.identity.limit_mnt,
            spki_sha256=key_hash(request.public_key),
            asked_by=request.requested_by,
        )

    def _pending(self, found: EnrollmentRecord) -> PendingError:
        return PendingError(f"enrolment {found.id} waits", self._settings.retry_after)

    async def _issue(self, request: AuthorizedRequest) -> bytes:
        return (await self._issuance.certify(request)).certificate

    async def _issue_once(self, request: AuthorizedRequest) -> bytes:
        try:
            return await self._issue(replace(request, repeatable=True))
        except NotTakenError:
            return await self._untaken_by(request) or await self._issue(request)

    async def _issue_approved(self, request: AuthorizedRequest, found: EnrollmentRecord) -> bytes:
        """Make the one certificate of an approval; who asks again meanwhile waits for it."""
        if await self._storage.read(lambda tx: issuances.of_enrollment(tx, found.id)):
            raise self._pending(found)
        return await self._issue(replace(request, enrollment=found.id))

    async def _untaken(self, found: EnrollmentRecord) -> bytes | None:
        return await untaken(
            self._storage,
            self._clock,
            lambda tx: issuances.undelivered_of_enrollment(tx, found.id),
            found.asked_by,
        )

    async def _untaken_by(self, request: AuthorizedRequest) -> bytes | None:
        asked_by, profile, key = request.requested_by, request.profile.name, key_hash(request.public_key)
        return await untaken(
            self._storage,
            self._clock,
            lambda tx: issuances.undelivered(tx, asked_by, profile, key),
            asked_by,
            request.identity,
        )

    async def _apply(
        self,
        request: AuthorizedRequest,
        application: Application,
        until: datetime | None,
        *,
        for_others: bool,
    ) -> EnrollmentRecord:
        await self._issuance.examine(request)
        now = self._clock.now()
        expires_at = min(now + self._settings.lifetime, until or datetime.max.replace(tzinfo=now.tzinfo))

        def transaction(tx: Transaction) -> EnrollmentRecord:
            found = enrollments.latest(tx, application)
            if found is not None and standing(found, now) in ("waiting", "approved"):
                return found  # asked twice at once
            self._require_room(tx, application.asked_by, now, for_others=for_others)
            added = enrollments.add(tx, application, now, expires_at)
            _audit(
                tx,
                now,
                application.asked_by,
                "enrollment.request",
                added,
                {"subject": added.subject, "san": added.san},
                spki_sha256=added.spki_sha256.hex(),
            )
            return added

        return await self._storage.write(transaction)

    def _require_room(self, tx: Transaction, asked_by: str, now: datetime, *, for_others: bool) -> None:
        """Bound what waits for people, and what one who asks can make of it."""
        bounds = self._settings
        most = bounds.max_waiting_per_registration_client if for_others else bounds.max_waiting_per_requester
        if enrollments.count_open(tx, now, asked_by) >= most:
            raise ConflictError(f"{most} other enrolments by you are open: have them decided first")
        if enrollments.count_open(tx, now) >= bounds.max_waiting:
            raise UnavailableError("too many enrolments are open; try again later")


def _decide(
    tx: Transaction, enrollment: int, decision: Decision, by: str, reason: str | None, now: datetime
) -> EnrollmentRecord:
    found = enrollments.get(tx, enrollment)
    if found is None:
        raise NotFoundError(f"no enrolment {enrollment}; see `pkiserver enrollment list`")
    if by == found.asked_by:
        raise NotAuthorizedError(f"enrolment {enrollment} is your own: somebody else decides on it")
    state, step = standing(found, now), _STEPS[decision]
    if state not in step.states:
        raise ConflictError(f"enrolment {enrollment} is {state}: it cannot be {decision}")
    if issuances.of_enrollment(tx, enrollment) is not None:
        raise ConflictError(f"the certificate of enrolment {enrollment} is being made")
    enrollments.decide(tx, enrollment, decision, by, now, reason)
    decided = replace(found, state=decision, decided_by=by, decided_at=now, reason=reason)
    personal = None if reason is None else {"reason": reason}
    _audit(tx, now, by, step.action, decided, personal, asked_by=found.asked_by)
    return decided


def _audit(
    tx: Transaction,
    now: datetime,
    actor: str,
    action: str,
    record: EnrollmentRecord,
    personal: Mapping[str, object] | None,
    **detail: str,
) -> None:
    entry = audit.entry(
        now,
        actor,
        action,
        personal=dict(personal) if personal is not None else None,
        enrollment=record.id,
        profile=record.profile,
        **detail,
    )
    audit_chain.append(tx, entry)


def _require_reason(reason: str | None) -> None:
    """The client is told it, in one line."""
    if (
        reason is None
        or not reason.strip()
        or len(reason) > MAX_REASON_CHARACTERS
        or not reason.isprintable()
    ):
        raise RefusedError(
            f"a reason has 1 to {MAX_REASON_CHARACTERS} printable characters: the client reads it"
        )
