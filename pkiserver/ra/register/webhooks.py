"""Webhooks: who is pushed the register's events, and the letters that carry them.

The register is the outbox of these events: each was written in the transaction that changed the certificate.
From there they go into the outbox of letters, many in one, in the transaction that notes how far that went;
so none is left out, and the postman delivers them as it delivers every letter.
"""

import asyncio
import json
import re
import secrets
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from config.schema_webhooks import Webhooks as Settings
from pkiserver import audit
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, PKIServerError, RefusedError
from pkiserver.ra.letters.outbox import Letter, Medium, Outbox
from pkiserver.ra.letters.webhook import SECRET_OCTETS, parse_webhook_url, reference, secret_text
from pkiserver.ra.register.feed import FollowedEvent, RegisterFeed, cursor_text, parse_cursor
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.roles import Action, Actor, Permission
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import letters, register_events, status_events
from store import webhooks as rows
from store.database import Transaction
from store.webhooks import WebhookRecord

EVENTS: Final = 50  # of one letter: some 20 KB
MAX_WAITING: Final = 20  # letters to one webhook; while it is silent the register keeps what follows
_EVERY_S: Final = 1.0
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with the secret
class NewWebhook:
    """A webhook that was added, and its secret, which is told this once."""

    record: WebhookRecord
    secret: str


class Webhooks:
    """Adds and removes webhooks, and writes letters to them as long as `run` runs."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        feed: RegisterFeed,
        outbox: Outbox,
        sealed: SealedSecrets,
        settings: Settings,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._feed = feed
        self._outbox = outbox
        self._sealed = sealed
        self._settings = settings

    async def add(self, actor: Actor, name: str, url: str) -> NewWebhook:
        """Add a webhook, which is told what happens from now on; `RefusedError` says what is wrong."""
        await self._gate.require(Permission(actor, Action.MANAGE_WEBHOOKS))
        if _NAME.fullmatch(name) is None:
            raise RefusedError("a webhook's name has up to 32 small letters, digits and hyphens")
        address = parse_webhook_url(url, self._settings.hosts)
        secret = secret_text(secrets.token_bytes(SECRET_OCTETS))
        now = self._clock.now()

        def transaction(tx: Transaction) -> WebhookRecord:
            known = rows.every(tx)
            if any(one.name == name for one in known):
                raise ConflictError(f"there is a webhook {name} already")
            if len(known) >= self._settings.most:
                raise ConflictError("there are as many webhooks as webhooks.most of the configuration allows")
            start = register_events.Place(status_events.head(tx), register_events.last_expiry(tx))
            made = rows.add(tx, name, address, start, now, actor.name)
            rows.set_secret(tx, made.id, self._sealed.seal(reference(made.id), secret))
            audit_chain.append(tx, audit.entry(now, actor.name, "webhook.add", webhook=made.id, url=address))
            return made

        return NewWebhook(await self._storage.write(transaction), secret)

    async def remove(self, actor: Actor, webhook: int) -> WebhookRecord:
        """Remove a webhook; letters to it that wait are given up."""
        await self._gate.require(Permission(actor, Action.MANAGE_WEBHOOKS))
        now = self._clock.now()

        def transaction(tx: Transaction) -> WebhookRecord:
            found = _found(tx, webhook)
            rows.remove(tx, webhook, now, actor.name)
            audit_chain.append(tx, audit.entry(now, actor.name, "webhook.remove", webhook=webhook))
            return found

        return await self._storage.write(transaction)

    async def resend(self, actor: Actor, webhook: int, after: str | None) -> WebhookRecord:
        """Have everything behind a cursor sent once more: what was given up, or lost by the receiver."""
        await self._gate.require(Permission(actor, Action.MANAGE_WEBHOOKS))
        place, now = parse_cursor(after), self._clock.now()

        def transaction(tx: Transaction) -> WebhookRecord:
            found = _found(tx, webhook)
            if place.sequence > found.written.sequence or place.expiry > found.written.expiry:
                raise RefusedError("this cursor lies behind what was sent so far")
            rows.set_back(tx, webhook, place)
            entry = audit.entry(now, actor.name, "webhook.resend", webhook=webhook, after=cursor_text(place))
            audit_chain.append(tx, entry)
            return _found(tx, webhook)

        return await self._storage.write(transaction)

    async def every(self, actor: Actor) -> list[WebhookRecord]:
        """Return the webhooks."""
        await self._gate.require(Permission(actor, Action.READ_WEBHOOK))
        return await self._storage.read(rows.every)

    async def run(self) -> None:
        """Write letters for ever; what the store refuses is tried again."""
        while True:
            written = 0
            try:
                written = await self.write_due()
            except PKIServerError as error:
                _log.warning("webhooks-wait", reason=str(error))
            if not written:
                await asyncio.sleep(_EVERY_S)

    async def write_due(self) -> int:
        """Write a letter to each webhook that there is news for; return how many were written."""
        written = 0
        for record in await self._storage.read(rows.every):
            events = await self._feed.behind(record.written, EVENTS)
            if events:
                written += await self._storage.write(partial(self._write, record=record, events=events))
        return written

    def _write(self, tx: Transaction, record: WebhookRecord, events: list[FollowedEvent]) -> int:
        """Write one letter and move on, unless the webhook was changed meanwhile, or is silent."""
        if rows.get(tx, record.id) != record or letters.waiting_about(tx, _about(record)) >= MAX_WAITING:
            return 0
        last = events[-1].cursor
        letter = Letter(
            about=f"{_about(record)}{record.turn}/{last}",
            template="webhook",
            medium=Medium.WEBHOOK,
            to=str(record.id),
            values={"body": body_text(events)},
        )
        self._outbox.write(tx, letter, self._clock.now())
        rows.move_on(tx, record.id, parse_cursor(last))
        return 1


def body_text(events: list[FollowedEvent]) -> str:
    """Return what a letter holds: events as the feed has them, and the cursor of the last."""
    return json.dumps({"events": [one.to_json() for one in events], "next": events[-1].cursor})


def _about(record: WebhookRecord) -> str:
    return f"webhook/{record.id}/"


def _found(tx: Transaction, webhook: int) -> WebhookRecord:
    found = rows.get(tx, webhook)
    if found is None:
        raise NotFoundError(f"no webhook {webhook}; see `pkiserver webhook list`")
    return found
