"""Re-enrolment: a holder of a current certificate renews or rekeys it, or another of the same holder's."""

from collections.abc import Mapping

from cryptography import x509

from config.profile import Profile
from pkiserver.ca.identity import (
    ATTRIBUTE_OIDS,
    SAN_KINDS,
    Identity,
    approve_identity,
    certificate_identity,
)
from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.ra.approval import Approvals
from pkiserver.ra.approved import Approved
from pkiserver.ra.client_certificates import Holder
from pkiserver.ra.credentials import enrollable
from pkiserver.ra.linking import require_linking
from pkiserver.ra.registration.renewal_rules import RenewalRules
from pkiserver.ra.requester import Channel
from pkiserver.storage import Storage
from protocols.x509.certificate import serial_text
from protocols.x509.csr import UnprovenCSR, parse_csr
from protocols.x509.names import names_equal, sans_equal
from protocols.x509.request_attributes import ChangeSubjectName
from store import certificates
from store.records import CertificateRecord


class Reenrollment:
    """Decides what the holder of a certificate may renew, and has `ca` issue it."""

    def __init__(
        self,
        storage: Storage,
        profiles: Mapping[str, Profile],
        approvals: Approvals,
        rules: RenewalRules,
    ) -> None:
        self._storage = storage
        self._profiles = profiles
        self._approvals = approvals
        self._rules = rules

    async def reenroll(
        self,
        csr_der: bytes,
        holder: Holder,
        channel: Channel,
        label: str | None,
        *,
        signed_request: bytes | None = None,
    ) -> bytes:
        """Return the DER certificate that renews or rekeys the holder's, or one of profile `label`.

        Raises what `Enrollment.reenroll` does.
        """
        csr = parse_csr(csr_der)
        approved = await self.approve(csr, holder, label)
        require_linking(approved.profile, csr, channel)
        request = approved.request(csr.public_key, signed_request=signed_request)
        return await self._approvals.obtain(request, until=holder.record.not_after)

    async def approve(self, csr: UnprovenCSR, holder: Holder, label: str | None) -> Approved:
        """Return what the holder may have, whatever key it is to have; raises as `reenroll`.

        That the request is bound to its channel is the caller's matter.
        """
        held, record = holder.certificate, holder.record
        own = self._profiles.get(record.profile)
        target = label or record.profile
        if own is None or target not in own.reenroll:
            raise NotAuthorizedError(f"a certificate of profile {record.profile} cannot re-enrol {target}")
        identity = certificate_identity(held)
        _require_same_names(csr, identity)
        profile = enrollable(self._profiles, target)
        renewed = record if target == record.profile else await self._other(record, target)
        await self._rules.require(renewed, profile)
        if csr.change_subject_name is not None:
            approved = self._changed(profile, own, identity, csr.change_subject_name)
        else:
            approved = _unchanged(profile, _identity(renewed), csr)
        return Approved(
            profile,
            approved,
            requested_by=f"certificate:{serial_text(record.serial)}",
            entitled_by=(record,),
            bounded=True,
        )

    def _changed(
        self, profile: Profile, own: Profile, identity: Identity, wanted: ChangeSubjectName
    ) -> Identity:
        """Return the identity with the wanted names (RFC 6402 §2.8): what a request may say by the profile.

        What a credential said stays as it is in the certificate: no holder approves an own identity.
        """
        if profile is not own or not profile.change_subject:
            raise RefusedError(f"profile {profile.name} lets nobody change the subject by ChangeSubjectName")
        kept = {rule.attribute for rule in profile.subject if rule.source != "request"}
        kept_oids = {ATTRIBUTE_OIDS[attribute] for attribute in kept}
        kept_kinds = {rule.kind for rule in profile.san if rule.source != "request"}
        subject = x509.Name([] if wanted.subject is None else wanted.subject.rdns)
        approved = approve_identity(
            profile,
            approved_subject=x509.Name(
                [one for one in identity.subject if one.oid.dotted_string in kept_oids]
            ),
            approved_san=[name for name in identity.san if SAN_KINDS.get(type(name)) in kept_kinds],
            requested_subject=subject,
            requested_san=wanted.san,
            limit_mnt=identity.limit_mnt,
        )
        if not (names_equal(approved.subject, subject) and sans_equal(approved.san, wanted.san)):
            raise RefusedError(
                f"ChangeSubjectName asks for names that profile {profile.name} does not leave to the request"
            )
        return approved

    async def _other(self, held: CertificateRecord, target: str) -> CertificateRecord:
        """Return the holder's newest certificate of another profile, whose limits are taken over.

        It may have expired; what was suspended or revoked is not renewed by another certificate.
        """
        found = await self._storage.read(
            lambda tx: certificates.newest_of_subject(tx, held.authority, target, held.subject)
        )
        if found is None or found.state != "active":
            raise NotAuthorizedError(f"there is no {target} certificate of this holder that could be renewed")
        return found


def _identity(record: CertificateRecord) -> Identity:
    return certificate_identity(x509.load_der_x509_certificate(record.certificate))


def _require_same_names(csr: UnprovenCSR, identity: Identity) -> None:
    if not (names_equal(csr.subject, identity.subject) and sans_equal(csr.san, identity.san)):
        raise RefusedError(
            "subject and subjectAltName of the request differ from the certificate (RFC 7030 §4.2.2)"
        )


def same_identity(profile: Profile, certificate: x509.Certificate, csr: UnprovenCSR) -> Identity:
    """Return the identity of a certificate, which a request has and the profile still allows, as it is.

    `RefusedError` where the request asks for other names, or the profile would make another identity of it.
    """
    identity = certificate_identity(certificate)
    _require_same_names(csr, identity)
    return _unchanged(profile, identity, csr)


def _unchanged(profile: Profile, renewed: Identity, csr: UnprovenCSR) -> Identity:
    """Hold an identity to the profile as it is now; `RefusedError` where that would make another of it."""
    approved = approve_identity(
        profile,
        approved_subject=renewed.subject,
        approved_san=renewed.san,
        requested_subject=csr.subject,
        requested_san=csr.san,
        limit_mnt=renewed.limit_mnt,
    )
    if not (names_equal(approved.subject, renewed.subject) and sans_equal(approved.san, renewed.san)):
        raise RefusedError(
            f"profile {profile.name} has changed since the certificate was issued: enrol with a credential"
        )
    return approved
