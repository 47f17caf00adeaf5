"""What is told of the register, composed."""

from collections.abc import Collection
from dataclasses import dataclass

from config.schema_webhooks import Webhooks as WebhookSettings
from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock
from pkiserver.ra.letters.outbox import Outbox
from pkiserver.ra.register.expiries import Expiries
from pkiserver.ra.register.feed import RegisterFeed
from pkiserver.ra.register.reports import Reports
from pkiserver.ra.register.timeline import Timelines
from pkiserver.ra.register.webhooks import Webhooks
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.storage import Storage


@dataclass(frozen=True, slots=True)
class RegisterServices:
    """Each asks the permission table itself."""

    expiries: Expiries
    feed: RegisterFeed
    reports: Reports
    timelines: Timelines
    webhooks: Webhooks


def open_register(
    *,
    storage: Storage,
    clock: Clock,
    authorities: Authorities,
    gate: Gate,
    subscribers: Collection[str],
    outbox: Outbox,
    sealed: SealedSecrets,
    webhooks: WebhookSettings,
) -> RegisterServices:
    """Return the services on a store."""
    feed = RegisterFeed(storage, authorities, gate)
    return RegisterServices(
        expiries=Expiries(storage, clock, authorities),
        feed=feed,
        reports=Reports(storage, clock, gate, subscribers),
        timelines=Timelines(storage, clock, authorities, gate),
        webhooks=Webhooks(
            storage=storage,
            clock=clock,
            gate=gate,
            feed=feed,
            outbox=outbox,
            sealed=sealed,
            settings=webhooks,
        ),
    )
