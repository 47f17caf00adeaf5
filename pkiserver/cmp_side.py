"""CMP composed: what answers each step of a transaction, on the services of the issuing side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509

from config.profile import Profile
from config.schema_cmp import CMP
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.issuance import Issuance
from pkiserver.ca.message_signer import MessageSigner
from pkiserver.clock import Clock
from pkiserver.ra.approval import Approvals
from pkiserver.ra.client_certificates import ClientCertificates
from pkiserver.ra.cmp.answers import Answers
from pkiserver.ra.cmp.certification import Certification
from pkiserver.ra.cmp.challenges import Challenges
from pkiserver.ra.cmp.confirmation import Confirmation
from pkiserver.ra.cmp.cross_certification import PROFILE as CROSS_PROFILE
from pkiserver.ra.cmp.cross_certification import CrossCertification
from pkiserver.ra.cmp.entitlements import Entitlements
from pkiserver.ra.cmp.made_keys import MadeKeys
from pkiserver.ra.cmp.named_certificates import NamedCertificates
from pkiserver.ra.cmp.nested import NestedMessages
from pkiserver.ra.cmp.old_certificates import OldCertificates
from pkiserver.ra.cmp.revocation import Revocation
from pkiserver.ra.cmp.senders import Senders
from pkiserver.ra.cmp.service import CMPService
from pkiserver.ra.cmp.stages import Handler
from pkiserver.ra.cmp.subject_keys import SubjectKeys
from pkiserver.ra.cmp.transactions import Kind, Step
from pkiserver.ra.credentials import Credentials
from pkiserver.ra.key_maker import KeyMaker
from pkiserver.ra.reenrollment import Reenrollment
from pkiserver.ra.refusals import Refusals
from pkiserver.ra.registration.plant_enrollment import PlantEnrollment
from pkiserver.ra.registration_clients import RegistrationClients
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.storage import Storage
from pkiserver.web.wire import cmp_failure_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CMPParts:
    """What CMP shares with other protocols."""

    settings: CMP
    storage: Storage
    clock: Clock
    authorities: Authorities
    profiles: Mapping[str, Profile]
    credentials: Credentials
    client_certificates: ClientCertificates
    registration_clients: RegistrationClients
    plant: PlantEnrollment
    reenrollment: Reenrollment
    approvals: Approvals
    status_changes: StatusChanges
    message_signer: MessageSigner
    refusals: Refusals
    issuance: Issuance
    key_maker: KeyMaker
    peers: Sequence[x509.Certificate]


def cmp_service(parts: CMPParts, general: Handler) -> CMPService:
    """Return the service; `general` answers general messages."""
    confirmation = Confirmation(parts.storage, parts.clock, parts.status_changes)
    named_certificates = NamedCertificates(parts.storage, parts.authorities)
    entitlements = Entitlements(
        parts.profiles,
        parts.registration_clients,
        parts.plant,
        parts.reenrollment,
        OldCertificates(parts.storage, named_certificates),
    )
    certification = Certification(
        storage=parts.storage,
        authorities=parts.authorities,
        entitlements=entitlements,
        approvals=parts.approvals,
        plant=parts.plant,
        settings=parts.settings,
        subject_keys=SubjectKeys(MadeKeys(parts.storage, parts.message_signer, parts.key_maker)),
        challenges=Challenges(parts.storage, entitlements, parts.message_signer),
        refused_as=cmp_failure_of,
    )
    revocation = Revocation(
        storage=parts.storage,
        named_certificates=named_certificates,
        profiles=parts.profiles,
        registration_clients=parts.registration_clients,
        status_changes=parts.status_changes,
        settings=parts.settings,
        refused_as=cmp_failure_of,
    )
    cross_certification = CrossCertification(
        peers=parts.peers,
        profile=parts.profiles[CROSS_PROFILE],
        settings=parts.settings,
        issuance=parts.issuance,
        authorities=parts.authorities,
        registration_clients=parts.registration_clients,
    )
    nested = NestedMessages(parts.registration_clients)
    service = CMPService(
        storage=parts.storage,
        clock=parts.clock,
        senders=Senders(
            storage=parts.storage,
            credentials=parts.credentials,
            client_certificates=parts.client_certificates,
            refusals=parts.refusals,
            settings=parts.settings,
        ),
        answers=Answers(parts.message_signer),
        confirmation=confirmation,
        refusals=parts.refusals,
        handlers={
            Step.CERTIFY: certification.certify,
            Step.POLL: certification.poll,
            Step.TAKE_CHALLENGE_RESPONSE: certification.answer_challenged,
            Step.CROSS_CERTIFY: cross_certification.certify,
            Step.CHANGE_STATUS: revocation.change_status,
            Step.ANSWER: general,
            Step.CONFIRM: confirmation.confirm,
            Step.CONFIRM_AGAIN: confirmation.confirm_again,
            Step.ABORT: confirmation.abort,
            Step.OPEN_NESTED: nested.handle,
        },
        again={Kind.CERTIFICATION: certification.again, Kind.REVOCATION: revocation.change_status},
        settings=parts.settings,
        refused_as=cmp_failure_of,
    )
    nested.attach(service)
    return service
