"""The services of registration, composed: what commands and API work with."""

from collections.abc import Mapping
from dataclasses import dataclass

from config.profile import Profile
from config.schema import Settings
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.issuance import OnEvent
from pkiserver.clock import Clock
from pkiserver.documents.explanations import SHIPPED
from pkiserver.home import Home
from pkiserver.ra.actor_identity import ActorIdentities
from pkiserver.ra.bulk.acts import BulkActs
from pkiserver.ra.bulk.runner import BulkRunner
from pkiserver.ra.bulk.telling import Telling
from pkiserver.ra.carrier_codes import CarrierCodes
from pkiserver.ra.cases.registry_feed import RegistryFeed
from pkiserver.ra.cases.service import Cases
from pkiserver.ra.credentials import Credentials
from pkiserver.ra.document_facts import DocumentFacts
from pkiserver.ra.documents import Documents
from pkiserver.ra.letters.notices import Notices
from pkiserver.ra.letters.outbox import Outbox
from pkiserver.ra.purges import Purges
from pkiserver.ra.register.services import RegisterServices, open_register
from pkiserver.ra.registration.application_ends import ApplicationEnds
from pkiserver.ra.registration.application_search import ApplicationSearch
from pkiserver.ra.registration.applications import Applications
from pkiserver.ra.registration.consequences import Consequences
from pkiserver.ra.registration.data_key import DataKey
from pkiserver.ra.registration.erasure import Erasures
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.http_registry import HTTPRegistry
from pkiserver.ra.registration.imports import Imports
from pkiserver.ra.registration.issuing import Issuing
from pkiserver.ra.registration.kept_codes import KeptCodes
from pkiserver.ra.registration.officers import Officers
from pkiserver.ra.registration.offices import Offices
from pkiserver.ra.registration.organizations import Organizations
from pkiserver.ra.registration.people import People
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.plant import Plant
from pkiserver.ra.registration.plant_results import PlantResults
from pkiserver.ra.registration.registry import FileRegistry
from pkiserver.ra.registration.renewal_ends import RenewalEnds
from pkiserver.ra.registration.renewal_rules import RenewalRules
from pkiserver.ra.registration.tokens import Tokens
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.ra.subscribers import subscriber_profiles
from pkiserver.ra.unblocking import Unblocking
from pkiserver.storage import Storage


@dataclass(frozen=True, slots=True)
class Registration:
    """Every service of registration; each asks the permission table itself."""

    offices: Offices
    people: People
    identities: ActorIdentities
    erasures: Erasures
    data_key: DataKey
    organizations: Organizations
    officers: Officers
    applications: Applications
    application_ends: ApplicationEnds
    application_search: ApplicationSearch
    imports: Imports
    tokens: Tokens
    unblocking: Unblocking
    carrier_codes: CarrierCodes
    issuing: Issuing
    consequences: Consequences
    renewal_rules: RenewalRules
    renewal_ends: RenewalEnds
    registry: FileRegistry | HTTPRegistry
    cases: Cases
    documents: Documents
    purges: Purges
    registry_feed: RegistryFeed
    bulk_acts: BulkActs
    bulk_runner: BulkRunner
    outbox: Outbox
    personal_data: PersonalData
    register: RegisterServices
    plant: Plant
    plant_results: PlantResults

    @property
    def http_registry(self) -> HTTPRegistry | None:
        """The registry, where it is one over HTTPS and so has something to tell of itself."""
        return self.registry if isinstance(self.registry, HTTPRegistry) else None


def open_registration(
    *,
    storage: Storage,
    clock: Clock,
    authorities: Authorities,
    home: Home,
    credentials: Credentials,
    profiles: Mapping[str, Profile],
    settings: Settings,
    on_event: OnEvent,
    status_changes: StatusChanges,
) -> Registration:
    """Return the services on a home; where no civil registry is configured, the one in the home's file."""
    gate, data = Gate(storage, clock), PersonalData(home.personal_data_key)
    registry = (
        HTTPRegistry(settings.civil_registry, home.path)
        if settings.civil_registry.url
        else FileRegistry(home.civil_registry)
    )
    people = People(storage=storage, clock=clock, gate=gate, data=data)
    outbox, codes = Outbox(data), KeptCodes(data)
    notices, subscribers = Notices(outbox, data), subscriber_profiles(profiles)
    bulk_runner = BulkRunner(storage=storage, clock=clock, telling=Telling(notices, clock), on_event=on_event)
    bulk_acts = BulkActs(
        storage=storage, clock=clock, gate=gate, subscribers=subscribers, begun=bulk_runner.wake
    )
    consequences = Consequences(bulk_acts=bulk_acts, notices=notices, on_event=on_event)
    applications = Applications(
        storage=storage,
        clock=clock,
        gate=gate,
        data=data,
        people=people,
        registry=registry,
    )
    cases = Cases(
        storage=storage,
        clock=clock,
        gate=gate,
        notices=notices,
        subscribers=subscribers,
        on_event=on_event,
    )
    return Registration(
        offices=Offices(storage, clock, gate),
        people=people,
        identities=ActorIdentities(data, people),
        erasures=Erasures(
            storage=storage,
            clock=clock,
            gate=gate,
            data=data,
            outbox=outbox,
            retention=settings.registration.retention,
        ),
        data_key=DataKey(home=home, storage=storage, clock=clock, gate=gate, data=data),
        officers=Officers(storage, clock, gate, consequences),
        organizations=Organizations(storage, clock, gate, settings.registration, consequences),
        applications=applications,
        application_ends=ApplicationEnds(
            storage=storage,
            clock=clock,
            applications=applications,
            on_delivered=consequences.delivered,
            on_event=on_event,
        ),
        application_search=ApplicationSearch(storage, clock, gate),
        tokens=Tokens(storage, clock, gate, codes, notices, on_event),
        unblocking=Unblocking(
            storage=storage, clock=clock, gate=gate, codes=codes, outbox=outbox, cases=cases
        ),
        carrier_codes=CarrierCodes(storage=storage, clock=clock, gate=gate, data=data, outbox=outbox),
        imports=Imports(
            storage=storage, clock=clock, gate=gate, data=data, people=people, applications=applications
        ),
        issuing=Issuing(
            storage=storage,
            clock=clock,
            gate=gate,
            applications=applications,
            credentials=credentials,
            profiles=profiles,
        ),
        consequences=consequences,
        renewal_rules=RenewalRules(storage=storage, clock=clock, data=data, registry=registry),
        renewal_ends=RenewalEnds(storage, clock),
        registry=registry,
        cases=cases,
        purges=Purges(storage=storage, clock=clock, gate=gate, data=data, retention=settings.retention),
        documents=Documents(
            storage=storage,
            clock=clock,
            gate=gate,
            data=data,
            facts=DocumentFacts(data, [home.explanations, SHIPPED], settings.documents.register_url),
        ),
        registry_feed=RegistryFeed(
            storage=storage, clock=clock, gate=gate, data=data, people=people, cases=cases
        ),
        bulk_acts=bulk_acts,
        bulk_runner=bulk_runner,
        outbox=outbox,
        personal_data=data,
        register=open_register(
            storage=storage,
            clock=clock,
            authorities=authorities,
            gate=gate,
            subscribers=subscriber_profiles(profiles),
            outbox=outbox,
            sealed=SealedSecrets(home.credential_key),
            webhooks=settings.webhooks,
        ),
        plant=Plant(
            storage=storage,
            clock=clock,
            gate=gate,
            data=data,
            applications=applications,
            profiles=profiles,
            settings=settings.plant,
        ),
        plant_results=PlantResults(storage, clock, gate, status_changes),
    )
