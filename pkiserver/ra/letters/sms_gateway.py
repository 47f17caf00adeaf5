"""Letters by SMS: an HTTP gateway takes `{"id", "to", "text"}` and answers 2xx once it has it."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp

from pkiserver.errors import UnavailableError
from pkiserver.ra.letters.media import Message, Outcome

# What is wrong with a message is wrong at the next attempt too; these are about the moment, or about us.
_FINAL_STATUSES: Final = frozenset({400, 404, 410, 413, 422})


@dataclass(frozen=True, slots=True)
class SMSGateway:
    """Where SMS are handed over. The token of `token_file` goes with each, as a bearer's (RFC 6750 §2.1)."""

    url: str
    ca_file: Path | None = None
    token_file: Path | None = None
    connections: int = 4
    timeout: timedelta = timedelta(seconds=30)


class SMSWay:
    """Hands SMS over to one gateway."""

    def __init__(self, gateway: SMSGateway) -> None:
        self._gateway = gateway
        self._session: aiohttp.ClientSession | None = None
        self._free = asyncio.Semaphore(gateway.connections)

    async def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Return what the gateway said of each message."""
        return await asyncio.gather(*(self._hand_over(message) for message in messages))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _hand_over(self, message: Message) -> Outcome:
        gateway = self._gateway
        body = {"id": f"letter-{message.letter}", "to": message.to, "text": message.text}
        async with self._free:
            try:
                self._session = self._session or _session(gateway)
                headers = _authorization(gateway.token_file)
                async with self._session.post(
                    gateway.url, json=body, headers=headers, allow_redirects=False
                ) as answer:
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError, OSError, UnavailableError) as error:
                return Outcome.failed(f"{type(error).__name__}: no answer from the SMS gateway")
        if 200 <= status < 300:
            return Outcome()
        return Outcome.failed(f"the SMS gateway said {status}", is_final=status in _FINAL_STATUSES)


def _session(gateway: SMSGateway) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=gateway.ca_file)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=gateway.connections),
        timeout=aiohttp.ClientTimeout(total=gateway.timeout.total_seconds()),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _authorization(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        return {"Authorization": f"Bearer {path.read_text().strip()}"}
    except OSError as error:
        raise UnavailableError("the token of the SMS gateway cannot be read") from error
