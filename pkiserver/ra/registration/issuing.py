"""From a verified application to its certificate: an enrolment credential that is bound to it.

Whoever enrols with it gets the subject and the limit of the application, and the lifetime of its profile,
whatever the request says. The transaction that records the certificate moves the application on as well.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from config.profile import Profile
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.ra.credentials import Bind, Credentials, NewCredential, Use
from pkiserver.ra.registration.application_events import (
    end_credential,
    found_application,
    move_on,
    record_event,
    standing_of,
    target_of,
)
from pkiserver.ra.registration.applications import PLANT, Applications, kept
from pkiserver.ra.registration.certified import certified_citizen, certified_officer
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.officer_form import AnyForm, OfficerForm
from pkiserver.ra.registration.roles import Action, Actor, Permission
from pkiserver.ra.registration.states import Command, Event, decide
from pkiserver.ra.registration.states import State as ApplicationState
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from store import applications as rows
from store import certificates
from store.applications import ApplicationRecord
from store.database import Transaction
from store.records import CertificateRecord

FOLLOWER: Final = "registration"  # who is on record for what a new certificate brings


class Issuing:
    """Makes the credentials of applications and follows what is issued with them."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        applications: Applications,
        credentials: Credentials,
        profiles: Mapping[str, Profile],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._applications = applications
        self._credentials = credentials
        self._profiles = profiles

    async def begin(
        self, actor: Actor, application: int, seen_version: int, use: Use = "est"
    ) -> NewCredential:
        """Return the credential of a verified application, or of a failed one once more."""
        command = Command(Event.BEGIN_ISSUING, seen_version, actor.name, "verified")
        return await self._with_credential(actor, application, command, use)

    async def carrier_refused(
        self, actor: Actor, application: int, seen_version: int, ground: str, use: Use = "est"
    ) -> NewCredential:
        """Return a new credential where the carrier did not take its certificate, which is revoked by now."""
        command = Command(Event.CARRIER_REFUSED, seen_version, actor.name, ground)
        return await self._with_credential(actor, application, command, use)

    async def fail(self, actor: Actor, application: int, seen_version: int, ground: str) -> ApplicationRecord:
        """Note that nothing was issued; the credential enrols nothing any more."""
        record = await self._storage.read(lambda tx: found_application(tx, application))
        await self._gate.require(Permission(actor, Action.ISSUE_APPLICATION, target_of(record)))
        now = self._clock.now()

        def transaction(tx: Transaction) -> ApplicationRecord:
            found = found_application(tx, application)
            _require_made_at_the_office(found)
            command = Command(Event.FAIL, seen_version, actor.name, ground)
            changed = decide(standing_of(found), command, now)
            end_credential(tx, found, now)
            return record_event(tx, found, changed, {})

        return await self._storage.write(transaction)

    @staticmethod
    def follow(tx: Transaction, certificate: CertificateRecord, now: datetime) -> None:
        """Note a new certificate of an application that waits for it, in the transaction that records it."""
        waiting = rows.awaiting(tx, certificate.authority, certificate.serial)
        if waiting is not None:
            note_issued(tx, waiting, certificate.authority, certificate.serial, now)

    async def _with_credential(
        self, actor: Actor, application: int, command: Command, use: Use
    ) -> NewCredential:
        record, form = await self._storage.read(
            lambda tx: (found_application(tx, application), self._applications.form(tx, application)),
            brief=True,
        )
        await self._gate.require(Permission(actor, Action.ISSUE_APPLICATION, target_of(record)))
        _require_made_at_the_office(record)
        now = self._clock.now()
        decide(standing_of(record), command, now)  # before a credential is made

        def bind(tx: Transaction, reference: str) -> None:
            if isinstance(form, OfficerForm):
                certified_officer(tx, record, form)  # who may have left since it was looked at
            self._bind(tx, application, command, reference, now)

        return await self._create(actor, record, kept(application, form), use, bind)

    def _bind(
        self, tx: Transaction, application: int, command: Command, reference: str, now: datetime
    ) -> None:
        """Bind a credential as it is made: nobody is to enrol with what is bound to nothing."""
        found = found_application(tx, application)
        changed = decide(standing_of(found), command, now)
        if command.event is Event.CARRIER_REFUSED:
            _require_revoked(tx, found)
        rows.set_credential(tx, application, reference)
        record_event(tx, found, changed, {"credential": reference})

    async def _create(
        self, actor: Actor, record: ApplicationRecord, form: AnyForm, use: Use, bind: Bind
    ) -> NewCredential:
        profile = self._profiles.get(record.profile)
        if profile is None:
            raise NotFoundError(f"profile {record.profile} is not configured any more")
        if isinstance(form, OfficerForm):
            named = await self._storage.read(lambda tx: certified_officer(tx, record, form), brief=True)
        else:
            named = certified_citizen(profile, form)
        return await self._credentials.create(
            profile=record.profile,
            subject=named.subject,
            san=named.san,
            limit_mnt=named.limit_mnt,
            uses=1,
            lifetime=None,
            actor=actor.name,
            use=use,
            bind=bind,
        )


def note_issued(
    tx: Transaction, record: ApplicationRecord, authority: int, serial: int, now: datetime
) -> ApplicationRecord:
    """Move an application that awaits this certificate on, in the caller's transaction.

    Where it had another one, which its client refused (RFC 9810 §5.3.18), that is an event of its own.
    """
    if record.state == ApplicationState.ISSUED.value:
        ground = "its client refused the certificate"
        record = move_on(tx, record, Event.CARRIER_REFUSED, by=FOLLOWER, ground=ground, now=now)
    issued = Command(Event.CERTIFICATE_ISSUED, record.version, FOLLOWER, "the certificate was issued")
    changed = decide(standing_of(record), issued, now)
    rows.set_certificate(tx, record.id, authority, serial)
    return record_event(tx, record, changed, {"authority": authority, "serial": serial_text(serial)})


def _require_made_at_the_office(record: ApplicationRecord) -> None:
    if record.delivery == PLANT:
        raise ConflictError(f"the card of application {record.id} is made by the printing plant")


def _require_revoked(tx: Transaction, record: ApplicationRecord) -> None:
    if record.authority is None or record.serial is None:
        raise ConflictError(f"application {record.id} has no certificate")
    certificate = certificates.get(tx, record.authority, record.serial)
    if certificate is None or certificate.state != "revoked":
        raise ConflictError(f"the certificate of application {record.id} must be revoked first")
