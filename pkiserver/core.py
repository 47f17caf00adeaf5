"""The issuing side composed: store, signer, authorities and the services on them, without a network door.

The server opens it, and so does a command where no server runs; both hold the home's lock.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509

from config.loader import load_settings
from config.profile import SHIPPED_PROFILES, Profile, check_issuers, load_profiles
from config.schema import Settings
from config.schema_keys import Keys
from pkiserver import status_side
from pkiserver.audit_heads.checking import HeadChecker
from pkiserver.audit_heads.export import AuditExport
from pkiserver.audit_heads.heads import AuditHeads
from pkiserver.audit_heads.ways import configured_ways
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.ca_certificates import root_update
from pkiserver.ca.distribution_points import DistributionPoints
from pkiserver.ca.hierarchy import Hierarchy
from pkiserver.ca.issuance import Issuance
from pkiserver.ca.message_signer import ARCHIVE, AUDIT_LOG, MESSAGES, MessageSigner
from pkiserver.ca.outside_root import OutsideRoot
from pkiserver.ca.own_certificates import CAServices
from pkiserver.ca.rollover import Rollover
from pkiserver.ca.rollover_withdrawal import RolloverWithdrawal
from pkiserver.ca.server_certificates import ServerCertificates
from pkiserver.ca.weak_keys import load_weak_keys
from pkiserver.clock import Clock
from pkiserver.cmp_side import CMPParts, cmp_service
from pkiserver.commands import Commands
from pkiserver.commands.services import CommandServices
from pkiserver.errors import ConflictError
from pkiserver.followers import Followers
from pkiserver.home import Home
from pkiserver.ra.actors import Actors
from pkiserver.ra.approval import Approvals
from pkiserver.ra.archive import Archive
from pkiserver.ra.client_certificates import ClientCertificates
from pkiserver.ra.cmc import FullPKIRequests
from pkiserver.ra.cmp.crls import CRLAnswers
from pkiserver.ra.cmp.cross_certification import load_peers
from pkiserver.ra.cmp.general import GeneralMessages
from pkiserver.ra.cmp.service import CMPService
from pkiserver.ra.compromise import Compromise
from pkiserver.ra.credentials import Credentials
from pkiserver.ra.enrollment import Enrollment
from pkiserver.ra.key_maker import KeyMaker
from pkiserver.ra.key_protection import KeyProtections
from pkiserver.ra.key_revocation import KeyRevocation
from pkiserver.ra.reenrollment import Reenrollment
from pkiserver.ra.refusals import Refusals
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.plant_enrollment import PlantEnrollment
from pkiserver.ra.registration.renewals import Renewals
from pkiserver.ra.registration.services import Registration, open_registration
from pkiserver.ra.registration_clients import RegistrationClients
from pkiserver.ra.role_grants import RoleGrants
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.ra.server_keys import ServerKeys
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.ra.trusted_issuers import TrustedIssuers
from pkiserver.readiness import ClockGuard, Readiness, StorageGuard, latest_record_time
from pkiserver.signer.client import Signer
from pkiserver.signer.settings import SignerSettings
from pkiserver.status.crl_publisher import CRLPublisher
from pkiserver.status.evidence import Evidence
from pkiserver.status.presigning import Presigning
from pkiserver.status.served_responses import ServedResponses
from pkiserver.storage import Storage
from store.database import Database


@dataclass(slots=True)
class Core:
    """Everything of the issuing side; made by `open_core`."""

    home: Home
    settings: Settings
    profiles: Mapping[str, Profile]
    clock: Clock
    storage: Storage
    signer: Signer
    authorities: Authorities
    readiness: Readiness
    storage_guard: StorageGuard
    issuance: Issuance
    hierarchy: Hierarchy
    rollover: Rollover
    server_certificates: ServerCertificates
    message_signer: MessageSigner
    audit_signer: MessageSigner
    archive: Archive
    audit_heads: AuditHeads
    credentials: Credentials
    trusted_issuers: TrustedIssuers
    approvals: Approvals
    actors: Actors
    role_grants: RoleGrants
    refusals: Refusals
    client_certificates: ClientCertificates
    status_changes: StatusChanges
    enrollment: Enrollment
    cmp: CMPService
    server_keys: ServerKeys
    full_pki_requests: FullPKIRequests
    registration: Registration
    renewals: Renewals
    crl_publisher: CRLPublisher
    presigning: Presigning
    commands: Commands
    served_responses: ServedResponses
    followers: Followers


def load_configuration(home: Home) -> tuple[Settings, dict[str, Profile]]:
    """Return settings and profiles of a home; `ConfigError` lists everything wrong with them."""
    settings = load_settings(home.configuration)
    profiles = load_profiles(SHIPPED_PROFILES, home.profiles)
    check_issuers(profiles, settings.authorities)
    TrustedIssuers(home.path, profiles).load()
    load_peers(home.path, settings.cmp.peers)
    return settings, profiles


@asynccontextmanager
async def open_core(home: Home, clock: Clock) -> AsyncIterator[Core]:
    """Open the issuing side of a home whose lock is held; closes it in the end.

    Raises `ConfigError`, `StorageError`, `SignerError`: each says what is wrong and what to do.
    """
    settings, profiles = load_configuration(home)
    database = Database(home.database)
    try:
        signer = Signer(
            signer_settings(home, settings.keys),
            workers=settings.keys.workers,
            deadline_s=settings.keys.deadline.total_seconds(),
            max_waiting=settings.keys.queue,
        )
        await signer.start()
        try:
            core = await _compose(home, settings, profiles, clock, Storage(database), signer)
            try:
                yield core
            finally:
                await core.registration.registry.close()
        finally:
            await signer.close()
    finally:
        database.close()


async def register_first(core: Core) -> None:
    """Make who holds the certificate in the home's `administrator/` the first administrator, once."""
    path = core.home.administrator / "administrator.pem"
    if path.exists():
        await core.actors.register_first(x509.load_pem_x509_certificate(path.read_bytes()))


def signer_settings(home: Home, keys: Keys) -> SignerSettings:
    """Return what the signer process is told; paths in the configuration are relative to the home."""

    def path(relative: Path | str | None) -> str | None:
        return str((home.path / relative).absolute()) if relative is not None else None

    if keys.store == "software":
        return SignerSettings(
            store="software",
            directory=str(home.keys.absolute()),
            passphrase_file=None if keys.passphrase_env else path(keys.passphrase_file),
            passphrase_env=keys.passphrase_env or None,
        )
    token = keys.token
    return SignerSettings(
        store="pkcs11",
        module=path(token.module_path),
        token_label=token.token,
        token_serial=token.serial,
        pin_file=path(token.pin_file),
        pin_env=token.pin_environment,
        pin_prompt=token.pin_source is None,
    )


def _require_configured(authorities: Authorities, settings: Settings) -> None:
    """Raise `ConflictError` for an authority without its section: its certificates need CRLs and OCSP."""
    missing = [record.name for record in authorities.records if record.name not in settings.authorities]
    if missing:
        raise ConflictError(
            f"the configuration lacks authorities that this home has: add [authorities.{missing[0]}] again"
        )


async def _compose(
    home: Home,
    settings: Settings,
    profiles: dict[str, Profile],
    clock: Clock,
    storage: Storage,
    signer: Signer,
) -> Core:
    authorities = Authorities()
    await authorities.reload(storage)
    _require_configured(authorities, settings)
    readiness = Readiness()
    clock_guard = ClockGuard(clock, settings.clock.tolerance, await latest_record_time(storage))
    storage_guard = StorageGuard(storage, home.path, settings.storage.min_free)
    readiness.needs(storage_guard.cause)
    readiness.needs(clock_guard.cause)
    followers = Followers()
    issuance = Issuance(
        storage=storage,
        signer=signer,
        clock=clock,
        authorities=authorities,
        weak_keys=load_weak_keys([home.path / path for path in settings.key_policy.blocklists]),
        public_url=settings.public_url,
        distribution_points=DistributionPoints(
            storage,
            settings.public_url,
            shards={name: one.crl_shards for name, one in settings.authorities.items()},
            with_deltas=[name for name, one in settings.authorities.items() if one.crl_delta_period],
        ),
        gate=readiness.gate,
        on_record=followers.tell_recorded,
        on_event=followers.tell_issued,
    )
    services = CAServices(settings, profiles, storage, signer, clock, authorities, issuance)
    hierarchy = Hierarchy(services)
    rollover = Rollover(services, hierarchy)
    server_certificates = ServerCertificates(services, home)
    credentials = Credentials(
        storage=storage,
        clock=clock,
        profiles=profiles,
        max_attempts=settings.est.max_attempts,
        lifetime=settings.est.credential_lifetime,
        sealed_secrets=SealedSecrets(home.credential_key),
    )
    approvals = Approvals(
        storage=storage,
        clock=clock,
        authorities=authorities,
        issuance=issuance,
        settings=settings.approval,
    )
    status_changes = StatusChanges(storage, clock, followers.tell_changed)
    registration = open_registration(
        storage=storage,
        clock=clock,
        authorities=authorities,
        home=home,
        credentials=credentials,
        profiles=profiles,
        settings=settings,
        on_event=followers.tell_changed,
        status_changes=status_changes,
    )
    followers.recorded.extend([registration.issuing.follow, registration.consequences.certified])
    refusals = Refusals(storage, clock)
    actors = Actors(storage, clock, authorities, registration.identities)
    role_grants = RoleGrants(storage, clock)
    trusted_issuers = TrustedIssuers(home.path, profiles)
    trusted_issuers.load()
    crl_publisher = status_side.crl_publisher(
        home, settings, storage=storage, signer=signer, clock=clock, authorities=authorities
    )
    presigning = status_side.presigning(
        home, settings, storage=storage, signer=signer, clock=clock, authorities=authorities
    )
    served_responses = ServedResponses(home.responses)
    client_certificates = ClientCertificates(
        storage=storage, clock=clock, authorities=authorities, trusted_issuers=trusted_issuers
    )
    registration_clients = RegistrationClients(storage, profiles, actors, approvals)
    reenrollment = Reenrollment(storage, profiles, approvals, registration.renewal_rules)
    key_revocation = KeyRevocation(storage, clock, authorities, status_changes)
    plant_enrollment = PlantEnrollment(
        storage=storage,
        clock=clock,
        gate=Gate(storage, clock),
        actors=actors,
        profiles=profiles,
        issuance=issuance,
        approvals=approvals,
    )
    message_signer = MessageSigner(services, MESSAGES)
    key_maker = KeyMaker()
    server_keys = ServerKeys(
        storage=storage,
        clock=clock,
        issuance=issuance,
        status_changes=status_changes,
        message_signer=message_signer,
        protections=KeyProtections(storage, clock, home.decrypt_keys),
        key_maker=key_maker,
    )
    archive = Archive(
        storage=storage,
        clock=clock,
        gate=Gate(storage, clock),
        data=registration.personal_data,
        documents=registration.documents,
        signer=MessageSigner(services, ARCHIVE),
    )
    audit_signer = MessageSigner(services, AUDIT_LOG)
    audit_heads = AuditHeads(
        storage=storage,
        clock=clock,
        signer=audit_signer,
        checker=HeadChecker(storage, authorities),
        outbox=registration.outbox,
        settings=settings.audit,
        ways=configured_ways(settings.audit, home.path),
    )
    commands = Commands(
        CommandServices(
            storage=storage,
            signer=signer,
            clock=clock,
            authorities=authorities,
            credentials=credentials,
            approvals=approvals,
            actors=actors,
            role_grants=role_grants,
            registration_clients=registration_clients,
            registration=registration,
            status_changes=status_changes,
            crl_publisher=crl_publisher,
            presigning=presigning,
            hierarchy=hierarchy,
            rollover=rollover,
            rollover_withdrawal=RolloverWithdrawal(services),
            key_revocation=key_revocation,
            compromise=Compromise(storage, clock, authorities, key_revocation),
            outside_root=OutsideRoot(services, hierarchy),
            server_certificates=server_certificates,
            clock_guard=clock_guard,
            evidence=Evidence(storage, authorities, served_responses),
            archive=archive,
            audit_heads=audit_heads,
            audit_export=AuditExport(storage, clock, audit_heads),
            on_authorities_changed=followers.tell_authorities_changed,
        )
    )
    await crl_publisher.restore_files()
    enrollment = Enrollment(
        storage=storage,
        clock=clock,
        authorities=authorities,
        profiles=profiles,
        credentials=credentials,
        client_certificates=client_certificates,
        registration_clients=registration_clients,
        plant=plant_enrollment,
        reenrollment=reenrollment,
        approvals=approvals,
        server_keys=server_keys,
        refusals=refusals,
    )
    general_messages = GeneralMessages(
        authorities=authorities,
        profiles=profiles,
        ca_certificates=enrollment.ca_certificates,
        root_update=partial(root_update, authorities),
        crls=CRLAnswers(crl_publisher.copies(), authorities),
    )
    cmp = cmp_service(
        CMPParts(
            settings=settings.cmp,
            storage=storage,
            clock=clock,
            authorities=authorities,
            profiles=profiles,
            credentials=credentials,
            client_certificates=client_certificates,
            registration_clients=registration_clients,
            plant=plant_enrollment,
            reenrollment=reenrollment,
            approvals=approvals,
            status_changes=status_changes,
            message_signer=message_signer,
            refusals=refusals,
            issuance=issuance,
            key_maker=key_maker,
            peers=load_peers(home.path, settings.cmp.peers),
        ),
        general_messages.handle,
    )
    return Core(
        home=home,
        settings=settings,
        profiles=profiles,
        clock=clock,
        storage=storage,
        signer=signer,
        authorities=authorities,
        readiness=readiness,
        storage_guard=storage_guard,
        issuance=issuance,
        hierarchy=hierarchy,
        rollover=rollover,
        server_certificates=server_certificates,
        message_signer=message_signer,
        audit_signer=audit_signer,
        archive=archive,
        audit_heads=audit_heads,
        credentials=credentials,
        trusted_issuers=trusted_issuers,
        approvals=approvals,
        actors=actors,
        role_grants=role_grants,
        client_certificates=client_certificates,
        status_changes=status_changes,
        full_pki_requests=FullPKIRequests(
            storage=storage,
            clock=clock,
            client_certificates=client_certificates,
            registration_clients=registration_clients,
            reenrollment=reenrollment,
            message_signer=message_signer,
        ),
        refusals=refusals,
        enrollment=enrollment,
        cmp=cmp,
        server_keys=server_keys,
        registration=registration,
        renewals=Renewals(
            storage=storage,
            clock=clock,
            people=registration.people,
            applications=registration.applications,
            credentials=credentials,
            client_certificates=client_certificates,
            rules=registration.renewal_rules,
            refusals=refusals,
            profiles=profiles,
        ),
        crl_publisher=crl_publisher,
        presigning=presigning,
        commands=commands,
        served_responses=served_responses,
        followers=followers,
    )
