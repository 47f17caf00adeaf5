"""The civil registry over HTTPS: mutual TLS, bounded answers and times, a few attempts, a circuit breaker.

A look-up changes nothing at the registry, so it is tried again where no whole answer came. What was answered
and cannot be believed is not: asking again would hide it. Nothing is ever taken for agreement but an answer.
"""

import asyncio
import ssl
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from random import SystemRandom
from secrets import token_hex
from typing import Final

import aiohttp
import structlog

from config.schema_registration import CivilRegistry as Settings
from pkiserver.errors import UnavailableError
from pkiserver.file_stamp import FileStamp, file_stamp
from pkiserver.health import Cause
from pkiserver.ra.registration.circuit import Circuit, State
from pkiserver.ra.registration.registry import RegistryEntry
from pkiserver.ra.registration.registry_messages import (
    fingerprint_question,
    numbers_question,
    parse_answer,
)
from protocols.errors import MalformedError

BOUNDS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FIRST_PAUSE_S: Final = 0.1  # before the second attempt; then twice as long each time
OUTCOMES: Final = ("found", "unknown", "failed", "not_asked")
FINGERPRINTS: Final = "/citizens/by-fingerprint"
NUMBERS: Final = "/citizens/by-numbers"
_RETRIED: Final = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # what would unpack to more than the bound is not even sent
}
_random: Final = SystemRandom()
_log = structlog.get_logger("pkiserver.civil-registry")


class _FailedError(Exception):
    """No answer that could be believed; `again`: another attempt may get one. The message holds no data."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class RegistryStatistics:
    """What the metrics show of the look-ups."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.latency = [0] * (len(BOUNDS_S) + 1)
        self.latency_sum_s = 0.0

    def lasted(self, seconds: float) -> None:
        """Count how long a look-up took that was asked."""
        self.latency[bisect_left(BOUNDS_S, seconds)] += 1
        self.latency_sum_s += seconds


class HTTPRegistry:
    """A registry at a URL; see `CivilRegistry` for the port and `docs/integrators.md` for the contract."""

    def __init__(
        self, settings: Settings, folder: Path, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the settings; paths in them begin at `folder`. Nothing is opened before the first look-up."""
        assert settings.ca_file is not None  # noqa: S101 - narrows for mypy: the settings were validated
        assert settings.certificate_file is not None  # noqa: S101 - as above
        self._settings = settings
        self._ca_file = folder / settings.ca_file
        self._certificate_file = folder / settings.certificate_file
        self._steady_s = steady_s
        self._circuit = Circuit(open_after=settings.open_after, pause_s=settings.pause.total_seconds())
        self._session: aiohttp.ClientSession | None = None
        self._stamps: tuple[FileStamp, FileStamp] = (None, None)
        self._opening = asyncio.Lock()
        self._under_way = 0
        self._failure = ""  # of the last look-up that was asked
        self.statistics = RegistryStatistics()

    @property
    def circuit(self) -> State:
        """Return how the circuit stands."""
        return self._circuit.state

    def cause(self) -> Cause:
        """Tell how the registry is; it is never a reason to turn other clients away."""
        detail = f"the civil registry does not answer: {self._failure}" if self._failure else ""
        return Cause("civil-registry", ok=True, detail=detail)

    async def by_fingerprint(self, reference: str) -> RegistryEntry | None:
        """See `CivilRegistry`."""
        request_id = token_hex(16)
        return await self._look_up(FINGERPRINTS, request_id, fingerprint_question(request_id, reference))

    async def by_numbers(self, register_number: str, civil_id: str) -> RegistryEntry | None:
        """See `CivilRegistry`."""
        request_id = token_hex(16)
        question = numbers_question(request_id, register_number, civil_id)
        return await self._look_up(NUMBERS, request_id, question, (register_number, civil_id))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _look_up(
        self, path: str, request_id: str, question: bytes, numbers: tuple[str, str] | None = None
    ) -> RegistryEntry | None:
        held = self._circuit.enter(self._steady_s()) if self._has_room() else None
        if held is None:
            self.statistics.outcomes["not_asked"] += 1
            raise UnavailableError(self._why_not_asked())
        self._under_way += 1
        begun_s = self._steady_s()
        succeeded: bool | None = None
        try:
            entry = await self._within_time(path, request_id, question, numbers)
            succeeded, self._failure = True, ""
        except _FailedError as error:
            succeeded, self._failure = False, str(error)
            _log.warning("look-up-failed", reason=self._failure, request=request_id)
            raise UnavailableError(
                f"the civil registry gave no answer ({error}): nothing was changed, try again later"
            ) from error
        finally:
            now_s = self._steady_s()
            self._under_way -= 1
            self._circuit.leave(held, now_s, succeeded=succeeded)
            self.statistics.lasted(now_s - begun_s)
            if not succeeded:
                self.statistics.outcomes["failed"] += 1
        self.statistics.outcomes["unknown" if entry is None else "found"] += 1
        return entry

    def _has_room(self) -> bool:
        return self._under_way < self._settings.max_lookups

    def _why_not_asked(self) -> str:
        if not self._has_room():
            return "too many look-ups in the civil registry are under way: nothing was changed, try again"
        return (
            f"the civil registry does not answer and is left alone for a while ({self._failure}): nothing was"
            " changed, try again later"
        )

    async def _within_time(
        self, path: str, request_id: str, question: bytes, numbers: tuple[str, str] | None
    ) -> RegistryEntry | None:
        failure = _FailedError("no time was left", again=False)
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                async with self._opening:
                    session = await self._opened()
                for attempt in range(self._settings.attempts):
                    if attempt:
                        await asyncio.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * _random.uniform(0.5, 1.5))
                    try:
                        entry = await self._attempt(session, path, request_id, question)
                    except _FailedError as error:
                        failure = error
                        if not error.again:
                            break
                    else:
                        return _asked_for(entry, numbers)
        except TimeoutError as error:
            raise _FailedError("it took too long", again=False) from error
        raise failure

    async def _attempt(
        self, session: aiohttp.ClientSession, path: str, request_id: str, question: bytes
    ) -> RegistryEntry | None:
        headers = _HEADERS | {"X-Request-Id": request_id}
        url = self._settings.url + path
        try:
            async with session.post(url, data=question, headers=headers, allow_redirects=False) as response:
                if response.status != HTTPStatus.OK:
                    raise _FailedError(f"it said {response.status}", again=response.status in _RETRIED)
                return parse_answer(await self._body(response), request_id)
        except MalformedError as error:
            raise _FailedError(str(error), again=False) from error
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise _FailedError("TLS failed: is its certificate of ca_file?", again=False) from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise _FailedError("the connection failed", again=True) from error
        except aiohttp.ClientError as error:
            raise _FailedError("what it said is no HTTP", again=False) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the whole body; no octet more is read than may be taken."""
        if response.content_type != "application/json" or "Content-Encoding" in response.headers:
            raise _FailedError("its answer is no plain JSON", again=False)
        most, body = self._settings.max_answer, bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                raise _FailedError(f"its answer is longer than {most} bytes", again=False)
        return bytes(body)

    async def _opened(self) -> aiohttp.ClientSession:
        """Return the session; a new one where a file of the TLS settings was replaced."""
        stamps = file_stamp(self._ca_file), file_stamp(self._certificate_file)
        if self._session is not None and stamps == self._stamps:
            return self._session
        context = await asyncio.to_thread(self._tls_context)
        old, self._stamps = self._session, stamps
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=self._settings.max_lookups),
            timeout=aiohttp.ClientTimeout(connect=self._settings.connect_timeout.total_seconds()),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        if old is not None:
            await old.close()  # a look-up that it cuts off is tried again
        return self._session

    def _tls_context(self) -> ssl.SSLContext:
        """Return a context in which `ca_file` alone is trusted; the system's authorities are not loaded."""
        try:
            context = ssl.create_default_context(cafile=str(self._ca_file))
            context.load_cert_chain(self._certificate_file)
        except (OSError, ssl.SSLError) as error:
            raise _FailedError("ca_file or certificate_file cannot be read", again=False) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _asked_for(entry: RegistryEntry | None, numbers: tuple[str, str] | None) -> RegistryEntry | None:
    """Return an entry that has the numbers which were asked for, where some were."""
    if entry is not None and numbers is not None and numbers != (entry.register_number, entry.civil_id):
        raise _FailedError("it told of somebody else than was asked for", again=False)
    return entry
