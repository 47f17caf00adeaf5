"""What is told of the register, composed."""

from collections.abc import Collection
from dataclasses import dataclass

from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock
from pkiserver.ra.register.expiries import Expiries
from pkiserver.ra.register.feed import RegisterFeed
from pkiserver.ra.register.reports import Reports
from pkiserver.ra.register.timeline import Timelines
from pkiserver.ra.registration.gate import Gate
from pkiserver.storage import Storage


@dataclass(frozen=True, slots=True)
class RegisterServices:
    """Each asks the permission table itself."""

    expiries: Expiries
    feed: RegisterFeed
    reports: Reports
    timelines: Timelines


def open_register(
    *, storage: Storage, clock: Clock, authorities: Authorities, gate: Gate, subscribers: Collection[str]
) -> RegisterServices:
    """Return the services on a store."""
    return RegisterServices(
        expiries=Expiries(storage, clock, authorities),
        feed=RegisterFeed(storage, authorities, gate),
        reports=Reports(storage, clock, gate, subscribers),
        timelines=Timelines(storage, clock, authorities, gate),
    )
