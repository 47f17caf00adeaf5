"""What the sender of a CMP request may have: by the same rules as over EST.

| protected by | ir, cr, p10cr | kur |
|---|---|---|
| MAC of a credential | what the credential is for | refused |
| a trusted third party's certificate | what the profiles that trust it give | refused |
| a registration client's certificate | for others, once approved | the same, of what oldCertID names |
| a printing plant's certificate | the card that it names | its own, as any other certificate of ours |
| another certificate of ours | its holder's, as by re-enrolment | the same |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from config.profile import Profile
from pkiserver.errors import ChallengeError, NotAuthorizedError, RefusedError
from pkiserver.ra.approved import Approved
from pkiserver.ra.client_certificates import Device, Holder
from pkiserver.ra.cmp.errors import BadCertTemplateError, WrongIntegrityError
from pkiserver.ra.cmp.old_certificates import OldCertificates
from pkiserver.ra.cmp.senders import MACSender
from pkiserver.ra.cmp.stages import Request
from pkiserver.ra.cmp.wanted import (
    Wanted,
    as_certified,
    is_named_by,
    old_cert_id,
    require_no_other_subject,
    require_old_certificate,
)
from pkiserver.ra.entitlement import by_certificate, by_credential
from pkiserver.ra.reenrollment import Reenrollment
from pkiserver.ra.registration.plant_enrollment import Card, PlantEnrollment
from pkiserver.ra.registration_clients import RegistrationClient, RegistrationClients
from protocols.cmp.bodies import BodyType

_SIGNED_KUR: Final = "kur is signed with the certificate that is updated (RFC 9483 §4.1.3)"


@dataclass(frozen=True, slots=True)
class Entitled:
    """What may be issued, until when a request for it may wait, and whether it is for others.

    `card` is the plant's, of which there is one certificate whatever is repeated.
    """

    approved: Approved
    until: datetime | None
    for_others: bool = False
    card: Card | None = None


class Entitlements:
    """Finds what senders are entitled to."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        registration_clients: RegistrationClients,
        plant: PlantEnrollment,
        reenrollment: Reenrollment,
        old_certificates: OldCertificates,
    ) -> None:
        self._profiles = profiles
        self._registration_clients = registration_clients
        self._plant = plant
        self._reenrollment = reenrollment
        self._old_certificates = old_certificates

    async def of(self, request: Request, wanted: Wanted) -> Entitled:
        """Return what the sender may have.

        Raises `NotAuthorizedError`, `NotFoundError` (profile), `BadCertTemplateError` where the names are not
        what it may have, `BadCertIDError`, `CertRevokedError`, `WrongIntegrityError`.
        """
        try:
            return await self._entitled(request, wanted)
        except RefusedError as error:
            raise BadCertTemplateError(str(error)) from error
        except ChallengeError as error:
            raise NotAuthorizedError(str(error)) from error

    async def _entitled(self, request: Request, wanted: Wanted) -> Entitled:
        is_update = request.body.tag is BodyType.KUR
        sender = request.sender
        if isinstance(sender, MACSender):
            if is_update:
                raise WrongIntegrityError(_SIGNED_KUR)
            return self._by_credential(request, sender, wanted)
        if isinstance(sender.client, Holder):
            return await self._by_holder(request, sender.client, wanted, is_update=is_update)
        return self._by_device(request, sender.client, wanted, sender.actor, is_update=is_update)

    def _by_credential(self, request: Request, sender: MACSender, wanted: Wanted) -> Entitled:
        credential = sender.credential
        if request.transaction is None:  # what was begun goes on
            if credential.expires_at <= request.now:
                raise NotAuthorizedError("the credential has expired")
            if credential.uses_left == 0:
                raise NotAuthorizedError("the credential has no use left")
        entitlement = by_credential(self._profiles, credential, None, request.profile)
        approved = entitlement.hold(wanted.csr, sender.actor)
        require_no_other_subject(wanted, approved.identity.subject)
        return Entitled(approved, credential.expires_at)

    def _by_device(
        self, request: Request, device: Device, wanted: Wanted, actor: str, *, is_update: bool
    ) -> Entitled:
        if is_update:
            raise NotAuthorizedError(_SIGNED_KUR)
        entitlement = by_certificate(self._profiles, device, request.profile)
        approved = entitlement.hold(wanted.csr, actor)
        require_no_other_subject(wanted, approved.identity.subject)
        return Entitled(approved, None)

    async def _by_holder(
        self, request: Request, holder: Holder, wanted: Wanted, *, is_update: bool
    ) -> Entitled:
        if is_update:
            actor = await self._registration_clients.actor(holder, None)
            if actor is not None and not _is_own(wanted, holder):
                return await self._update_for_others(request, holder, actor, wanted)
        require_old_certificate(wanted, holder.certificate)
        card = None if is_update else await self._plant.card(holder, request.profile)
        if card is not None:
            return Entitled(card.hold(wanted.csr), card.credential.expires_at, for_others=True, card=card)
        actor = None if is_update else await self._registration_clients.actor(holder, request.profile)
        if actor is not None:
            approved = self._registration_clients.approve(wanted.csr, holder, actor, request.profile)
            return Entitled(approved, None, for_others=True)
        csr = as_certified(wanted, holder.certificate)
        approved = await self._reenrollment.approve(csr, holder, request.profile)
        return Entitled(approved, holder.record.not_after)

    async def _update_for_others(
        self, request: Request, holder: Holder, actor: RegistrationClient, wanted: Wanted
    ) -> Entitled:
        """Let a registration client update somebody else's certificate, which may run out meanwhile."""
        old = await self._old_certificates.named(wanted, request.now)
        if request.profile not in (None, old.record.profile):
            raise NotAuthorizedError(
                f"a certificate of profile {old.record.profile} is updated in that profile"
            )
        csr = as_certified(wanted, old.certificate)
        approved = self._registration_clients.approve_update(csr, holder, actor, old)
        return Entitled(approved, old.record.not_after, for_others=True)


def _is_own(wanted: Wanted, holder: Holder) -> bool:
    old = old_cert_id(wanted)
    return old is not None and is_named_by(old, holder.certificate)
