"""The printing plant's batches (regulation 2.8): what waits for a card, who pulled it, what is to be printed.

The results of cards are in `plant_results`, their certificates in `plant_enrollment`.
"""

import asyncio
import json
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import structlog

from config.profile import Profile
from config.schema_plant import Plant as PlantSettings
from pkiserver import audit
from pkiserver.ca.identity import Identity, approve_identity
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, PKIServerError, RefusedError, UnavailableError
from pkiserver.ra.credentials import check_identity, enrollable
from pkiserver.ra.registration.application_events import found_application, record_event, standing_of
from pkiserver.ra.registration.applications import Applications
from pkiserver.ra.registration.certified import certified_citizen
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.officer_form import OfficerForm
from pkiserver.ra.registration.people import APPLICATIONS
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.ra.registration.states import Command, Event, State, decide
from pkiserver.storage import Storage
from protocols.errors import ProtocolError
from protocols.x509.names import parse_subject, subject_text
from store import applications, certificates, credentials
from store import audit as audit_chain
from store import plant as rows
from store.applications import ApplicationRecord
from store.database import Transaction
from store.plant import BatchRecord, CardRecord
from store.records import CredentialRecord

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

# What is printed on a card and personalised into its chip; address, telephone and mail are not.
PRINTED: Final = ("parent_name", "clan_name", "given_name", "register_number", "civil_id", "birth_date")
REFERENCE_PREFIX: Final = "card-"  # so written a reference may stand where EST and CMP name a profile
_REFERENCE_CHARACTERS: Final = 16  # 82 random bits
_ALPHABET: Final = string.ascii_lowercase + string.digits
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)  # as Idempotency-Key has it
_PAGE: Final = 200

CardState = Literal["waiting", "enrolled", "withdrawn", "issued", "failed"]


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class PlantCard:
    """A card as the plant sees it; `form` has what is printed, None once it has its result or was erased."""

    record: CardRecord
    state: CardState
    profile: str
    subject: str
    limit_mnt: int | None
    certificate: tuple[int, int] | None  # authority and serial
    certificate_state: str | None
    form: Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True, repr=False)
class _Candidate:
    record: ApplicationRecord
    subject: str
    limit_mnt: int | None


class Plant:
    """Gives batches to printing plants and shows them."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        data: PersonalData,
        applications: Applications,
        profiles: Mapping[str, Profile],
        settings: PlantSettings,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data
        self._applications = applications
        self._profiles = profiles
        self._settings = settings
        self._pulling = asyncio.Lock()  # two pulls at once would look at the same applications

    async def pull(self, actor: Actor, plant: str, size: int, key: str) -> BatchRecord:
        """Give a plant up to `size` of the applications that wait, or once more what this key gave it.

        `ConflictError` where none waits, or the plant has too many open batches.
        """
        await self._gate.require(Permission(actor, Action.PULL_BATCH, Target(plant=plant)))
        if not 1 <= size <= self._settings.max_batch:
            raise RefusedError(f"a batch has 1 to {self._settings.max_batch} cards")
        if _KEY.fullmatch(key) is None:
            raise RefusedError("the key of a pull has 8 to 64 letters, digits, hyphens and underscores")
        async with self._pulling:
            known = await self._storage.read(lambda tx: rows.pulled_with(tx, plant, key))
            if known is not None:
                return _same(known, size)
            candidates = await self._candidates(actor, size)
            return await self._storage.write(lambda tx: self._take(tx, actor, plant, size, key, candidates))

    async def batches(
        self,
        actor: Actor,
        *,
        plant: str | None = None,
        state: str | None = None,
        before: int,
        limit: int,
    ) -> list[BatchRecord]:
        """Return batches with numbers below `before`, the newest first; `plant` None: of all plants."""
        await self._gate.require(Permission(actor, Action.READ_BATCH, Target(plant=plant)))
        if state is not None and state not in rows.STATES:
            raise RefusedError(f"a batch is one of {', '.join(rows.STATES)}")
        now = self._clock.now()
        return await self._storage.read(
            lambda tx: rows.batches(tx, plant=plant, state=state, now=now, before=before, limit=limit)
        )

    async def batch(self, actor: Actor, number: int) -> BatchRecord:
        """Return a batch; `NotFoundError` also for one that the actor may not see."""
        found = await self._storage.read(lambda tx: found_batch(tx, number))
        await self._gate.require(Permission(actor, Action.READ_BATCH, Target(plant=found.plant)))
        return found

    async def cards(self, actor: Actor, number: int, *, after: int = 0, limit: int) -> list[PlantCard]:
        """Return cards of a batch in the order of their applications; the reading is recorded with it."""
        found = await self.batch(actor, number)
        now = self._clock.now()

        def transaction(tx: Transaction) -> list[PlantCard]:
            shown = [self._shown(tx, one) for one in rows.cards(tx, found.id, after, limit)]
            read = [one.record.application for one in shown if one.form is not None]
            entry = audit.entry(now, actor.name, "plant.read", batch=found.id, applications=read)
            audit_chain.append(tx, entry)
            return shown

        return await self._storage.write(transaction)

    async def card(self, actor: Actor, number: int, reference: str) -> PlantCard:
        """Return one card without its form; `NotFoundError` where the batch has none of this reference."""
        found = await self.batch(actor, number)

        def read(tx: Transaction) -> PlantCard:
            return self._shown(tx, found_card(tx, found.id, reference), with_form=False)

        return await self._storage.read(read)

    async def _candidates(self, actor: Actor, size: int) -> list[_Candidate]:
        """Return applications that can be certified, the oldest first; nobody pulls their own."""
        found: list[_Candidate] = []
        after = 0
        while len(found) < size:
            page = await self._storage.read(lambda tx, behind=after: rows.queued(tx, behind, _PAGE))  # type: ignore[misc]  # mypy infers no type for a default
            if not page:
                break
            for application in page:
                candidate = await self._candidate(application)
                own = candidate is not None and actor.person == candidate.record.person is not None
                if candidate is not None and not own and len(found) < size:
                    found.append(candidate)
            after = page[-1]
        return found

    async def _candidate(self, application: int) -> _Candidate | None:
        """Return what is certified for an application; None, which is logged, where nothing can be."""
        try:
            record = await self._storage.read(lambda tx: found_application(tx, application))
            form = await self._applications.form_of(application)
            profile = enrollable(self._profiles, record.profile)
            if isinstance(form, OfficerForm):
                raise RefusedError("the printing plant makes the cards of citizens")
            named = certified_citizen(profile, form)
            candidate = _Candidate(record, named.subject, named.limit_mnt)
            check_identity(profile, Identity(parse_subject(candidate.subject), (), candidate.limit_mnt))
        except UnavailableError:
            raise
        except (
            PKIServerError,
            ProtocolError,
        ) as error:  # one that nobody can make does not hold up the others
            _log.warning("plant-application-skipped", application=application, kind=error.kind.value)
            return None
        return candidate

    def _take(
        self, tx: Transaction, actor: Actor, plant: str, size: int, key: str, candidates: list[_Candidate]
    ) -> BatchRecord:
        now = self._clock.now()
        most = self._settings.max_open_batches
        if rows.count_open(tx, plant) >= most:
            raise ConflictError(f"{most} batches are open: report the results of their cards first")
        fresh = [one for one in candidates if _is_unchanged(tx, one)]
        if not fresh:
            raise ConflictError("no application waits for a card")
        due_at = now + self._settings.batch_lifetime
        number = rows.add_batch(
            tx, plant=plant, pull_key=key, asked=size, cards=len(fresh), now=now, due_at=due_at
        )
        for one in fresh:
            _put_into(tx, number, one, actor, now, due_at)
        entry = audit.entry(now, actor.name, "plant.pull", batch=number, plant=plant, cards=len(fresh))
        audit_chain.append(tx, entry)
        return found_batch(tx, number)

    def _shown(self, tx: Transaction, card: CardRecord, *, with_form: bool = True) -> PlantCard:
        application = found_application(tx, card.application)
        credential = credentials.get(tx, card.reference)
        assert credential is not None  # noqa: S101 - the card refers to it
        certificate = _certificate(card, application)
        record = certificates.get(tx, *certificate) if certificate else None
        shows_form = with_form and card.result is None
        return PlantCard(
            record=card,
            state=_card_state(card, application),
            profile=credential.profile,
            subject=self._subject(credential),
            limit_mnt=credential.limit_mnt,
            certificate=certificate,
            certificate_state=record.state if record else None,
            form=self._printed(tx, card.application) if shows_form else None,
        )

    def _subject(self, credential: CredentialRecord) -> str:
        """Return the subject to be certified: what was approved, and what the profile adds to it."""
        profile = self._profiles.get(credential.profile)
        if profile is None:
            return credential.subject
        approved = parse_subject(credential.subject)
        identity = approve_identity(
            profile, approved_subject=approved, requested_subject=None, limit_mnt=credential.limit_mnt
        )
        return subject_text(identity.subject)

    def _printed(self, tx: Transaction, application: int) -> Mapping[str, str | None] | None:
        sealed = self._data.read(tx, APPLICATIONS, application).get("form")
        if sealed is None:
            return None
        form = json.loads(sealed)
        return {name: form[name] for name in PRINTED}


def _card_state(card: CardRecord, application: ApplicationRecord) -> CardState:
    """Return how a card stands: until it has a result, by its application."""
    if card.result is not None:
        return card.result.outcome
    if application.state == State.ISSUING.value:
        return "waiting"
    return "enrolled" if application.state == State.ISSUED.value else "withdrawn"


def found_batch(tx: Transaction, number: int) -> BatchRecord:
    """Return a batch or raise `NotFoundError`."""
    found = rows.batch(tx, number)
    if found is None:
        raise NotFoundError(f"no batch {number}; see `pkiserver plant batch list`")
    return found


def found_card(tx: Transaction, batch: int, reference: str) -> CardRecord:
    """Return a card of a batch or raise `NotFoundError`."""
    found = rows.card(tx, reference)
    if found is None or found.batch != batch:
        raise NotFoundError(f"batch {batch} has no such card; see `pkiserver plant batch show`")
    return found


def _same(known: BatchRecord, size: int) -> BatchRecord:
    if known.asked != size:
        raise ConflictError("this key was used for a pull of another size: take a new one")
    return known


def _is_unchanged(tx: Transaction, candidate: _Candidate) -> bool:
    found = applications.get(tx, candidate.record.id)
    return found is not None and found.version == candidate.record.version


def _put_into(
    tx: Transaction, batch: int, candidate: _Candidate, actor: Actor, now: datetime, due_at: datetime
) -> None:
    """Bind a credential without a secret to an application: the plant enrols by its reference alone."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_REFERENCE_CHARACTERS))
    reference, application = REFERENCE_PREFIX + random, candidate.record.id
    entry = audit.entry(
        now,
        actor.name,
        "plant.card",
        batch=batch,
        application=application,
        reference=reference,
        personal={"subject": candidate.subject},
    )
    credentials.add(
        tx,
        reference=reference,
        secret_hash=None,
        profile=candidate.record.profile,
        subject=candidate.subject,
        san=(),
        limit_mnt=candidate.limit_mnt,
        uses=1,
        attempts=1,
        created_at=now,
        expires_at=due_at,
        audit_sequence=audit_chain.append(tx, entry).sequence,
    )
    command = Command(
        Event.BEGIN_ISSUING, candidate.record.version, actor.name, "pulled by the printing plant"
    )
    changed = decide(standing_of(candidate.record), command, now)
    applications.set_credential(tx, application, reference)
    record_event(tx, candidate.record, changed, {"batch": batch, "credential": reference})
    rows.add_card(tx, reference=reference, batch=batch, application=application)


def _certificate(card: CardRecord, application: ApplicationRecord) -> tuple[int, int] | None:
    """Return what the card bears, or bore when its result came."""
    if card.result is not None:
        named = card.authority, card.serial
    elif application.state == State.ISSUED.value:
        named = application.authority, application.serial
    else:
        return None  # what the application has then is of an earlier card
    authority, serial = named
    return None if authority is None or serial is None else (authority, serial)
