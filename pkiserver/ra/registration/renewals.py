"""Renewal by a signed application (regulation 2.9): the way that a signature-only certificate has, too.

The holder signs the form with any certificate of theirs that is good now. The application is verified by that
signature, and issuing at once: its credential enrols the new certificate, over EST or CMP. Names and numbers
are those of the civil registry and on record; how to reach the holder, and the limits, they say anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from config.profile import Profile
from pkiserver.ca.issuance_rules import require_entitled
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotAuthorizedError, PKIServerError
from pkiserver.ra.client_certificates import ClientCertificates, Holder
from pkiserver.ra.credentials import Credentials, NewCredential, Use
from pkiserver.ra.refusals import Refusals
from pkiserver.ra.registration.application_events import end_credential, move_on
from pkiserver.ra.registration.applications import PROFILES, Applications
from pkiserver.ra.registration.certified import certified_citizen
from pkiserver.ra.registration.challenges import CLOCK_SKEW, Answered, Challenge, Challenges
from pkiserver.ra.registration.contacts import name_key
from pkiserver.ra.registration.form import Fault, Form, FormError, validate_form
from pkiserver.ra.registration.numbers import today
from pkiserver.ra.registration.people import People
from pkiserver.ra.registration.public_share import PublicShare
from pkiserver.ra.registration.registry import differing_fields
from pkiserver.ra.registration.renewal_rules import RenewalRules
from pkiserver.ra.registration.roles import Actor
from pkiserver.ra.registration.signed_form import SignedForm, read_signed_form
from pkiserver.ra.registration.states import Event, State
from pkiserver.storage import Storage
from protocols import oid
from protocols.errors import ErrorKind, ProtocolError
from protocols.x509.certificate import serial_text
from store import applications as application_rows
from store import certificates
from store import renewals as rows
from store.database import Transaction
from store.records import CertificateRecord

CHANNEL: Final = "online"
PROOF: Final = "own_signature"
CREDENTIAL_LIFETIME: Final = timedelta(days=1)  # the software that signed the form enrols now
MAX_A_MINUTE: Final = 60  # of one address, challenges counted: an office with many citizens behind one
MAX_A_DAY: Final = 10  # of one person: each is a durable write, and so is its credential
_BEFORE_ISSUED: Final = frozenset({State.VERIFIED, State.ISSUING, State.FAILED})
_OPERATION: Final = "renewal.apply"
_NO_REFUSAL: Final = (ErrorKind.UNAVAILABLE, ErrorKind.TOO_MANY_REQUESTS)
_PREFIX: Final = "PNOMN-"


@dataclass(frozen=True, slots=True)
class Renewal:
    """An application that was accepted, and what enrols its certificate."""

    application: int
    profile: str
    use: Use
    reference: str
    secret: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, repr=False)
class _Accepted:
    """A signed application that every check let through, ahead of the transaction that keeps it."""

    signed: SignedForm
    message: bytes
    answered: Answered
    holder: Holder
    person: int
    form: Form
    profile: Profile

    @property
    def actor(self) -> Actor:
        return Actor(f"certificate:{serial_text(self.holder.record.serial)}", person=self.person)


class Renewals:
    """Takes signed applications; who sends one is nobody's business, who signed it is."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        people: People,
        applications: Applications,
        credentials: Credentials,
        client_certificates: ClientCertificates,
        rules: RenewalRules,
        refusals: Refusals,
        profiles: Mapping[str, Profile],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._people = people
        self._applications = applications
        self._credentials = credentials
        self._client_certificates = client_certificates
        self._rules = rules
        self._refusals = refusals
        self._profiles = profiles
        self._challenges = Challenges()
        self._share = PublicShare(MAX_A_MINUTE, timedelta(minutes=1), "requests of a minute")

    def challenge(self, peer: str) -> Challenge:
        """Return a challenge that the next application signs along; nothing is kept of it.

        `TooManyRequestsError` where the address had its share, as of `apply`.
        """
        self._share.take(peer, self._clock.now())
        return self._challenges.make(self._clock.now())

    async def apply(self, message: bytes, peer: str) -> Renewal:
        """Take a signed application; return what enrols its certificate, the only time that it is known.

        Raises what `read_signed_form` does, `FormError`, `NotAuthorizedError` for who may not renew,
        `RefusedError` naming what the civil registry knows otherwise, `ConflictError` for an answer given
        twice, `UnavailableError`. Refusals are audited. An earlier renewal of the same profile that led to
        no certificate is withdrawn: one is open at a time.
        """
        self._share.take(peer, self._clock.now())
        self._refusals.require_share(peer, self._clock.now())
        try:
            return await self._apply(message)
        except (PKIServerError, ProtocolError) as error:
            if error.kind not in _NO_REFUSAL:
                await self._refusals.record("anonymous", _OPERATION, peer, str(error))
            raise

    async def _apply(self, message: bytes) -> Renewal:
        accepted = await self._examined(message)
        new = await self._credential(accepted)
        try:
            application = await self._storage.write(
                lambda tx: self._keep(tx, accepted, new, self._clock.now())
            )
        except BaseException:  # nobody is to enrol with what is bound to nothing
            await self._credentials.cancel(new.reference, accepted.actor.name)
            raise
        signed = accepted.signed
        return Renewal(application, signed.profile, signed.use, new.reference, new.secret, new.expires_at)

    async def _examined(self, message: bytes) -> _Accepted:
        now = self._clock.now()
        # 1. Who signed what?
        signed = read_signed_form(message)
        # 2. Now, and in answer to us?
        answered = self._challenges.answered(signed.challenge, now)
        if not answered.made_at - CLOCK_SKEW <= signed.signed_at <= now + CLOCK_SKEW:
            raise NotAuthorizedError("signingTime is not of now: set the clock")
        # 3. With a certificate of ours that is good now?
        holder = await self._holder(signed.certificate)
        # 4. Of somebody on record, who applies for themselves?
        form = validate_form(signed.fields, today(now))
        person = await self._person(holder, form)
        # 5. For a certificate that may be renewed, by who is alive and called as it says?
        profile, renewed = await self._renewed(signed, holder)
        entry = await self._rules.require(renewed, profile)
        if entry is None:
            raise NotAuthorizedError("the certificate came of no application: apply anew at an office")
        differing = differing_fields(form, entry)
        if differing:
            raise FormError(tuple(Fault(one, "the civil registry has other data") for one in differing))
        return _Accepted(signed, message, answered, holder, person, form, profile)

    async def _holder(self, certificate: bytes) -> Holder:
        shown = self._client_certificates.read(certificate)
        holder = await self._client_certificates.identify(shown)
        if not isinstance(holder, Holder):
            raise NotAuthorizedError("the certificate of the signature is not of this CA")
        return holder

    async def _person(self, holder: Holder, form: Form) -> int:
        """Return whose certificate it is: a citizen's on record, by the number in it and in the form."""
        found = [
            str(one.value)
            for one in holder.certificate.subject
            if one.oid.dotted_string == oid.SERIAL_NUMBER and str(one.value).startswith(_PREFIX)
        ]
        if len(found) != 1 or holder.record.profile not in PROFILES:
            raise NotAuthorizedError("the certificate of the signature is not a citizen's")
        civil_id = found[0].removeprefix(_PREFIX)
        person = await self._storage.read(lambda tx: self._people.of_civil_id(tx, civil_id))
        if person is None:
            raise NotAuthorizedError("the holder is on record no more: apply anew at an office")
        if form.civil_id != civil_id:
            raise NotAuthorizedError("the form is another person's than the certificate")
        return person

    async def _renewed(self, signed: SignedForm, holder: Holder) -> tuple[Profile, CertificateRecord]:
        """Return the newest certificate of the profile that the holder has: it may have expired.

        The first one is never issued from afar (regulation 2.1), and no certificate makes good what was
        suspended or revoked.
        """
        profile = self._profiles.get(signed.profile)
        if profile is None:
            raise ConflictError(f"profile {signed.profile} is not configured any more")
        record = holder.record
        found = await self._storage.read(
            lambda tx: certificates.newest_of_subject(tx, record.authority, profile.name, record.subject)
        )
        if found is None or found.state != "active":
            raise NotAuthorizedError(
                f"there is no {profile.name} certificate of this holder that could be renewed"
            )
        return profile, found

    async def _credential(self, accepted: _Accepted) -> NewCredential:
        named = certified_citizen(accepted.profile, accepted.form)
        return await self._credentials.create(
            profile=accepted.profile.name,
            subject=named.subject,
            san=named.san,
            limit_mnt=named.limit_mnt,
            uses=1,
            lifetime=CREDENTIAL_LIFETIME,
            actor=accepted.actor.name,
            use=accepted.signed.use,
        )

    def _keep(self, tx: Transaction, accepted: _Accepted, new: NewCredential, now: datetime) -> int:
        """Write the application with all that led it to issuing, and withdraw the one before."""
        actor, form, record = accepted.actor, accepted.form, accepted.holder.record
        require_entitled(tx, record, now)  # a revocation meanwhile counts
        if rows.is_answered(tx, accepted.answered.nonce):
            raise ConflictError("this application was taken already: ask for another challenge")
        self._make_room(tx, accepted, now)
        added = application_rows.add(
            tx,
            office=None,
            channel=CHANNEL,
            carrier=accepted.signed.carrier,
            profile=accepted.profile.name,
            name_key=name_key(f"{form.given_name} {form.parent_name}"),
            now=now,
            by=actor.name,
        )
        draft = self._applications.begin(tx, added, form, actor, now)
        rows.add(
            tx,
            application=draft.id,
            challenge=accepted.answered.nonce,
            authority=record.authority,
            serial=record.serial,
        )
        person = self._people.take_over(tx, form, actor.name, f"application {draft.id}", now)
        application_rows.set_person(tx, draft.id, person, PROOF)
        self._applications.keep_signed(tx, draft.id, accepted.message)
        ground = f"identity proved by {PROOF}"
        verified = move_on(tx, draft, Event.VERIFY, by=actor.name, ground=ground, now=now)
        application_rows.set_credential(tx, draft.id, new.reference)
        bound = {"credential": new.reference}
        move_on(tx, verified, Event.BEGIN_ISSUING, by=actor.name, ground="verified", now=now, detail=bound)
        return draft.id

    def _make_room(self, tx: Transaction, accepted: _Accepted, now: datetime) -> None:
        """Withdraw what the person had open for this profile; `ConflictError` where that was enough."""
        found = rows.of_person(tx, accepted.person, MAX_A_DAY)
        if len(found) == MAX_A_DAY and found[-1].created_at > now - timedelta(days=1):
            raise ConflictError(f"{MAX_A_DAY} renewals were applied for within a day")
        for one in found:
            if one.profile == accepted.profile.name and State(one.state) in _BEFORE_ISSUED:
                end_credential(tx, one, now)
                by, ground = accepted.actor.name, "the holder applied anew"
                move_on(tx, one, Event.WITHDRAW, by=by, ground=ground, now=now)
