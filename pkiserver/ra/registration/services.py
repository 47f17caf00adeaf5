"""The services of registration, composed: what commands and API work with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from config.profile import Profile
from pkiserver.ca.issuance import OnEvent
from pkiserver.clock import Clock
from pkiserver.home import Home
from pkiserver.ra.cases.service import Cases
from pkiserver.ra.credentials import Credentials
from pkiserver.ra.letters.notices import Notices
from pkiserver.ra.letters.outbox import Outbox
from pkiserver.ra.registration.applications import Applications
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.issuing import Issuing
from pkiserver.ra.registration.offices import Offices
from pkiserver.ra.registration.organizations import Organizations
from pkiserver.ra.registration.people import People
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.registry import CivilRegistry, FileRegistry
from pkiserver.ra.subscribers import subscriber_profiles
from pkiserver.storage import Storage

RETENTION: Final = timedelta(days=7 * 365 + 2)  # seven years after a certificate has expired


@dataclass(frozen=True, slots=True)
class Registration:
    """Every service of registration; each asks the permission table itself."""

    offices: Offices
    people: People
    organizations: Organizations
    applications: Applications
    issuing: Issuing
    cases: Cases
    outbox: Outbox


def open_registration(
    *,
    storage: Storage,
    clock: Clock,
    home: Home,
    credentials: Credentials,
    profiles: Mapping[str, Profile],
    on_event: OnEvent,
    registry: CivilRegistry | None = None,
    retention: timedelta = RETENTION,
) -> Registration:
    """Return the services on a home; without a `registry`, the one in the home's file."""
    gate, data = Gate(storage, clock), PersonalData(home.personal_data_key)
    outbox = Outbox(data)
    people = People(storage=storage, clock=clock, gate=gate, data=data, retention=retention)
    applications = Applications(
        storage=storage,
        clock=clock,
        gate=gate,
        data=data,
        people=people,
        registry=registry or FileRegistry(home.civil_registry),
    )
    return Registration(
        offices=Offices(storage, clock, gate),
        people=people,
        organizations=Organizations(storage, clock, gate),
        applications=applications,
        issuing=Issuing(
            storage=storage,
            clock=clock,
            gate=gate,
            applications=applications,
            credentials=credentials,
            profiles=profiles,
        ),
        cases=Cases(
            storage=storage,
            clock=clock,
            gate=gate,
            notices=Notices(outbox, data),
            subscribers=subscriber_profiles(profiles),
            on_event=on_event,
        ),
        outbox=outbox,
    )
