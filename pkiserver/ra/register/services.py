"""What is told of the register, composed."""

from dataclasses import dataclass

from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock
from pkiserver.ra.register.expiries import Expiries
from pkiserver.ra.register.feed import RegisterFeed
from pkiserver.ra.registration.gate import Gate
from pkiserver.storage import Storage


@dataclass(frozen=True, slots=True)
class RegisterServices:
    """Each asks the permission table itself."""

    expiries: Expiries
    feed: RegisterFeed


def open_register(
    *, storage: Storage, clock: Clock, authorities: Authorities, gate: Gate
) -> RegisterServices:
    """Return the services on a store."""
    return RegisterServices(
        expiries=Expiries(storage, clock, authorities),
        feed=RegisterFeed(storage, authorities, gate),
    )
