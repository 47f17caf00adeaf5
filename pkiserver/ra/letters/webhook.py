"""Letters to programs: signed JSON over HTTPS (Standard Webhooks), to hosts of the configuration alone."""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from config.schema_webhooks import Webhooks as Settings
from config.units import IPNetwork
from pkiserver.clock import Clock
from pkiserver.errors import RefusedError, UnavailableError
from pkiserver.ra.letters.media import Message, Outcome
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.storage import Storage
from store import webhooks
from store.database import Transaction

SECRET_OCTETS: Final = 32
MAX_URL_CHARACTERS: Final = 500
_PREFIX: Final = "whsec_"
_HTTPS_PORT: Final = 443


def reference(webhook: int) -> str:
    """Return for what the secret of a webhook is sealed."""
    return f"webhook {webhook}"


def parse_webhook_url(text: str, hosts: Sequence[str]) -> str:
    """Return a URL that may be pushed to; `RefusedError` unless it is https and of a host that is allowed."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or _HTTPS_PORT
    except ValueError as error:
        raise RefusedError("this is no URL") from error
    plain = text.isascii() and text.isprintable() and len(text) <= MAX_URL_CHARACTERS and "\\" not in text
    if not plain or parts.scheme != "https" or parts.username is not None or parts.query or parts.fragment:
        raise RefusedError("a webhook is an https URL without user, query and fragment")
    named = host if port == _HTTPS_PORT else f"{host}:{port}"
    if named not in hosts:
        raise RefusedError("this host is not one of webhooks.hosts of the configuration")
    return text


def signature(secret: str, letter: str, at: datetime, body: bytes) -> str:
    """Return the signature header of a delivery: HMAC-SHA256 over its id, time and body."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{letter}.{int(at.timestamp())}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def secret_text(octets: bytes) -> str:
    """Return a secret as its receiver is told it."""
    return _PREFIX + base64.b64encode(octets).decode()


class WebhookWay:
    """Posts each letter to its webhook; 2xx is a delivery, and a redirect is a failure."""

    def __init__(
        self, storage: Storage, clock: Clock, secrets: SealedSecrets, settings: Settings, folder: Path
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._secrets = secrets
        self._settings = settings
        self._folder = folder
        self._session: aiohttp.ClientSession | None = None
        self._free = asyncio.Semaphore(settings.connections)

    async def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Return what became of each message."""
        return await asyncio.gather(*(self._hand_over(message) for message in messages))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _hand_over(self, message: Message) -> Outcome:
        async with self._free:
            try:
                found = await self._storage.read(lambda tx: _addressed(tx, int(message.to)))
                if found is None:
                    return Outcome.failed("the webhook was removed", is_final=True)
                url, sealed = found
                parse_webhook_url(url, self._settings.hosts)  # the configuration may allow it no more
                secret = self._secrets.unseal(reference(int(message.to)), sealed)
                status = await self._post(url, secret, message)
            except (aiohttp.ClientError, TimeoutError, OSError, UnavailableError) as error:
                return Outcome.failed(f"{type(error).__name__}: no answer from the webhook")
            except RefusedError as error:
                return Outcome.failed(str(error))
        return Outcome() if 200 <= status < 300 else Outcome.failed(f"the webhook said {status}")

    async def _post(self, url: str, secret: str, message: Message) -> int:
        self._session = self._session or self._opened()
        letter, now, body = f"letter-{message.letter}", self._clock.now(), message.text.encode()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": letter,  # the same at every attempt
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature(secret, letter, now, body),
        }
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            return answer.status  # what the body says is not read

    def _opened(self) -> aiohttp.ClientSession:
        settings = self._settings
        ca_file = self._folder / settings.ca_file if settings.ca_file is not None else None
        connector = aiohttp.TCPConnector(
            ssl=ssl.create_default_context(cafile=ca_file),
            resolver=GuardedResolver(settings.networks),
            use_dns_cache=False,
            limit=settings.connections,
        )
        timeout = aiohttp.ClientTimeout(total=settings.timeout.total_seconds())
        return aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )


class GuardedResolver(AbstractResolver):
    """Looks names up, and leaves out addresses inside that the configuration does not name.

    The connection goes to what was checked here: a name that changes between the two leads nowhere else.
    """

    def __init__(self, networks: Sequence[IPNetwork], resolver: AbstractResolver | None = None) -> None:
        self._networks = networks
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the allowed addresses; `OSError` where there is none."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if self._allows(one["host"])]
        if not allowed:
            raise OSError("the name leads to no address that is allowed")
        return allowed

    async def close(self) -> None:
        """Let go of the resolver."""
        await self._resolver.close()

    def _allows(self, text: str) -> bool:
        address: Any = ipaddress.ip_address(text.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        inside = any(address.version == one.version and address in one for one in self._networks)
        return inside or (address.is_global and not address.is_multicast)


def _addressed(tx: Transaction, webhook: int) -> tuple[str, bytes] | None:
    record, sealed = webhooks.get(tx, webhook), webhooks.sealed_secret(tx, webhook)
    return (record.url, sealed) if record is not None and sealed is not None else None
