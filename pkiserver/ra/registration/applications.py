"""Applications: made from the form, verified against the civil registry, returned, withdrawn and shown.

How one becomes a certificate is in `issuing`, how it ends in `application_ends`; `application_search` finds
it. Events are of `states`, and written by `application_events`; permission is asked of `permissions`.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final

from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, RefusedError
from pkiserver.ra.registration.application_events import (
    end_credential,
    found_application,
    record_draft,
    record_event,
    standing_of,
    target_of,
)
from pkiserver.ra.registration.carriers import KINDS
from pkiserver.ra.registration.contacts import name_key
from pkiserver.ra.registration.form import Form, validate_form
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.numbers import today
from pkiserver.ra.registration.officer_form import AnyForm, OfficerForm, confirmed
from pkiserver.ra.registration.offices import found_office
from pkiserver.ra.registration.people import APPLICATIONS, People
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.registry import CivilRegistry, IdentityProof, differing_fields, look_up
from pkiserver.ra.registration.roles import Action, Actor, Permission, Target
from pkiserver.ra.registration.states import Command, Event, State, decide
from pkiserver.storage import Storage
from store import applications as rows
from store import audit as audit_chain
from store import organizations
from store.applications import ApplicationEventRecord, ApplicationRecord
from store.database import Transaction
from store.records import AuditEntry

CHANNELS: Final = ("branch", "service_centre", "kiosk", "mission")  # regulation 2.1: never remote at first
CARRIERS: Final = KINDS
PLANT: Final = "plant"
DELIVERIES: Final = ("office", PLANT)  # who makes the carrier; regulation 2.8 has the plant make cards
PROFILES: Final = ("citizen-signature", "citizen-authentication")


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class NewApplication:
    """What is entered at an office."""

    office: str  # its code
    fields: Mapping[str, object]  # of the form IUB-41
    channel: str = "branch"
    carrier: str = "id_card"
    profile: str = "citizen-signature"
    delivery: str = "office"


@dataclass(frozen=True, slots=True, repr=False)
class ShownApplication:
    """An application as it is shown: with its form, unless that was erased, and its events."""

    record: ApplicationRecord
    form: Mapping[str, Any] | None
    events: list[ApplicationEventRecord]


class Applications:
    """The way of an application up to verification, and back; it is withdrawn and shown here, too."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        data: PersonalData,
        people: People,
        registry: CivilRegistry,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._data = data
        self._people = people
        self._registry = registry

    async def draft(self, actor: Actor, new: NewApplication) -> ApplicationRecord:
        """Make a draft; `FormError` names every fault of the form at once."""
        now = self._clock.now()
        form = validate_form(new.fields, today(now))
        _require_known(new)
        office, holder = await self._storage.read(
            lambda tx: (found_office(tx, new.office), self._people.whose(tx, actor, form.civil_id)),
            brief=True,
        )
        await self._gate.require(Permission(actor, Action.APPLY, Target(office=office.id, holder=holder)))

        def transaction(tx: Transaction) -> ApplicationRecord:
            added = rows.add(
                tx,
                office=office.id,
                channel=new.channel,
                carrier=new.carrier,
                profile=new.profile,
                name_key=name_key(f"{form.given_name} {form.parent_name}"),
                now=now,
                by=actor.name,
                delivery=new.delivery,
            )
            return self.begin(tx, added, form, actor, now)

        return await self._storage.write(transaction, brief=True)

    def begin(
        self, tx: Transaction, added: ApplicationRecord, form: AnyForm, actor: Actor, now: datetime
    ) -> ApplicationRecord:
        """Keep the form of an application that was just added, with its first event; return it as a draft."""
        self._data.put(tx, APPLICATIONS, added.id, _sealed(form))
        return record_draft(tx, added, actor, now)

    def keep_signed(self, tx: Transaction, application: int, message: bytes) -> None:
        """Keep what the holder signed, encrypted as the form is: it proves who applied for what."""
        kept = base64.b64encode(message).decode("ascii")
        self._data.put(tx, APPLICATIONS, application, {"signed_application": kept})

    async def verify(
        self, actor: Actor, application: int, seen_version: int, proof: IdentityProof
    ) -> ApplicationRecord:
        """Hold an application to the civil registry: it is verified, or returned with what differs named.

        `UnavailableError` where the registry is silent: the application stays as it is.
        """
        record, form = await self._permitted_with_form(actor, Action.VERIFY_APPLICATION, application)
        command = Command(Event.VERIFY, seen_version, actor.name, f"identity proved by {proof.kind.value}")
        decide(standing_of(record), command, self._clock.now())  # before anybody is asked
        entry = await look_up(self._registry, proof, form)
        form = confirmed(form, entry)
        differing = differing_fields(form, entry)
        if differing:
            ground = "the civil registry has other data"
            return await self._move(
                actor, application, Event.RETURN, seen_version, ground, {"fields": list(differing)}
            )
        now = self._clock.now()

        def transaction(tx: Transaction) -> ApplicationRecord:
            found = found_application(tx, application)
            changed = decide(standing_of(found), command, now)
            person = self._people.take_over(tx, form, actor.name, f"application {application}", now)
            if person == actor.person:
                raise ConflictError("nobody verifies the own application")
            rows.set_person(tx, application, person, proof.kind.value)
            if found.officer is not None and not organizations.set_officer_person(tx, found.officer, person):
                raise ConflictError("the officer is somebody else on record: of the same name and mail")
            self._data.put(tx, APPLICATIONS, application, {"proof": proof.text})
            return record_event(tx, found, changed, {"proof": proof.kind.value})

        return await self._storage.write(transaction, brief=True)

    async def send_back(
        self, actor: Actor, application: int, seen_version: int, ground: str, fields: tuple[str, ...] = ()
    ) -> ApplicationRecord:
        """Return an application to who applied, with the fields that are wrong (regulation 2.10)."""
        await self.permitted(actor, Action.VERIFY_APPLICATION, application)
        known = [field for field in fields if field in Form.__dataclass_fields__]
        if len(known) != len(fields):
            raise RefusedError("the fields that are wrong are named as the form names them")
        return await self._move(actor, application, Event.RETURN, seen_version, ground, {"fields": known})

    async def withdraw(
        self, actor: Actor, application: int, seen_version: int, ground: str
    ) -> ApplicationRecord:
        """Withdraw an application; its credential enrols nothing any more."""
        await self.permitted(actor, Action.WITHDRAW_APPLICATION, application)
        return await self._move(actor, application, Event.WITHDRAW, seen_version, ground)

    async def show(self, actor: Actor, application: int) -> ShownApplication:
        """Return an application with its form; the reading is recorded in the same transaction."""
        record = await self._storage.read(lambda tx: found_application(tx, application), brief=True)
        if record.person is None and actor.identified is not None:  # whose it is only the form says
            await self.permitted(actor, Action.READ_APPLICATION, application)
        else:
            await self._gate.require(Permission(actor, Action.READ_APPLICATION, target_of(record)))
        now = self._clock.now()

        def transaction(tx: Transaction) -> ShownApplication:
            audit_chain.append(tx, self._reading(actor, now, application))
            form = self._data.read(tx, APPLICATIONS, application).get("form")
            return ShownApplication(
                found_application(tx, application),
                json.loads(form) if form is not None else None,
                rows.events(tx, application),
            )

        return await self._storage.write(transaction, brief=True)

    def _reading(self, actor: Actor, now: datetime, application: int) -> AuditEntry:
        return audit.entry(
            now, actor.name, "application.read", application=application, on_behalf_of=actor.on_behalf_of
        )

    async def form_of(self, application: int) -> AnyForm:
        """Return the form of an application, for the server's own use; `ConflictError` once erased."""
        return kept(application, await self._storage.read(lambda tx: self.form(tx, application), brief=True))

    def form(self, tx: Transaction, application: int) -> AnyForm | None:
        """Return what `form_of` does, in the caller's transaction; None once it is erased."""
        form = self._data.read(tx, APPLICATIONS, application, ["form"]).get("form")
        if form is None:
            return None
        values = json.loads(form)
        values["birth_date"] = date.fromisoformat(values["birth_date"])
        return OfficerForm(**values) if "work_mail" in values else Form(**values)

    async def permitted(self, actor: Actor, action: Action, application: int) -> ApplicationRecord:
        """Return an application where the actor may act on it."""

        def look(tx: Transaction) -> tuple[ApplicationRecord, int | None]:
            record = found_application(tx, application)
            if record.person is not None:
                return record, record.person
            return record, self._holder(tx, actor, kept(application, self.form(tx, application)))

        record, holder = await self._storage.read(look, brief=True)
        await self._require(actor, action, record, holder)
        return record

    async def _permitted_with_form(
        self, actor: Actor, action: Action, application: int
    ) -> tuple[ApplicationRecord, AnyForm]:
        """Return an application with its form, in one look, where the actor may act on it."""

        def look(tx: Transaction) -> tuple[ApplicationRecord, AnyForm | None, int | None]:
            record, form = found_application(tx, application), self.form(tx, application)
            if record.person is not None:
                return record, form, record.person
            return record, form, self._holder(tx, actor, kept(application, form))

        record, form, holder = await self._storage.read(look, brief=True)
        await self._require(actor, action, record, holder)
        return record, kept(application, form)

    def _holder(self, tx: Transaction, actor: Actor, form: AnyForm) -> int | None:
        """Return whose a form that is not verified yet says that it is."""
        return self._people.whose(tx, actor, form.civil_id)

    async def _require(
        self, actor: Actor, action: Action, record: ApplicationRecord, holder: int | None
    ) -> None:
        target = Target(office=record.office, organization=record.organization, holder=holder)
        await self._gate.require(Permission(actor, action, target))

    async def _move(
        self,
        actor: Actor,
        application: int,
        event: Event,
        seen_version: int,
        ground: str,
        detail: Mapping[str, object] | None = None,
    ) -> ApplicationRecord:
        now = self._clock.now()

        def transaction(tx: Transaction) -> ApplicationRecord:
            found = found_application(tx, application)
            changed = decide(standing_of(found), Command(event, seen_version, actor.name, ground), now)
            if changed.to_state is State.WITHDRAWN:
                end_credential(tx, found, now)
            return record_event(tx, found, changed, detail or {})

        return await self._storage.write(transaction, brief=True)


def kept(application: int, form: AnyForm | None) -> AnyForm:
    """Return the form of an application, or raise `ConflictError` where it is erased."""
    if form is None:
        raise ConflictError(f"the form of application {application} is erased")
    return form


def _require_known(new: NewApplication) -> None:
    for value, known, what in (
        (new.channel, CHANNELS, "channel"),
        (new.carrier, CARRIERS, "carrier"),
        (new.profile, PROFILES, "profile"),
        (new.delivery, DELIVERIES, "delivery"),
    ):
        if value not in known:
            raise RefusedError(f"a citizen's {what} is one of {', '.join(known)}")
    if new.delivery == PLANT and new.carrier != "id_card":
        raise RefusedError("the printing plant makes identity cards alone (regulation 2.8)")


def _sealed(form: AnyForm) -> dict[str, str]:
    values = asdict(form) | {"birth_date": form.birth_date.isoformat()}
    return {
        "form": json.dumps(values, ensure_ascii=False),
        "register_number": form.register_number,
        "civil_id": form.civil_id,
    }
