"""The services of registration, composed: what commands and API work with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from config.profile import Profile
from config.schema_plant import Plant as PlantSettings
from pkiserver.clock import Clock
from pkiserver.home import Home
from pkiserver.ra.credentials import Credentials
from pkiserver.ra.registration.applications import Applications
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.issuing import Issuing
from pkiserver.ra.registration.offices import Offices
from pkiserver.ra.registration.organizations import Organizations
from pkiserver.ra.registration.people import People
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.plant import Plant
from pkiserver.ra.registration.plant_results import PlantResults
from pkiserver.ra.registration.registry import CivilRegistry, FileRegistry
from pkiserver.ra.status_changes import StatusChanges
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
    plant: Plant
    plant_results: PlantResults


def open_registration(
    *,
    storage: Storage,
    clock: Clock,
    home: Home,
    credentials: Credentials,
    profiles: Mapping[str, Profile],
    status_changes: StatusChanges,
    plant: PlantSettings,
    registry: CivilRegistry | None = None,
    retention: timedelta = RETENTION,
) -> Registration:
    """Return the services on a home; without a `registry`, the one in the home's file."""
    gate, data = Gate(storage, clock), PersonalData(home.personal_data_key)
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
        plant=Plant(
            storage=storage,
            clock=clock,
            gate=gate,
            data=data,
            applications=applications,
            profiles=profiles,
            settings=plant,
        ),
        plant_results=PlantResults(storage, clock, gate, status_changes),
    )
