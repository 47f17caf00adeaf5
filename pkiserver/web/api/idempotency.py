"""A request that is repeated because its answer was lost is carried out once, and answered alike.

What it did and what it was answered are two commits. Where the server broke between them nobody can say from
here what became of the request, and it is refused: the client looks at the thing itself.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, PKIServerError, UnprocessableError
from pkiserver.storage import Storage
from protocols.errors import ErrorKind, MalformedError, ProtocolError
from store import api_requests
from store.api_requests import Answer, Kept

_KEY: Final = re.compile(
    r'"?([A-Za-z0-9_-]{8,64})"?', re.ASCII
)  # a UUID has 36; the draft's quotes may stand


def parse_key(header: str) -> str:
    """Return the key of an Idempotency-Key header; `MalformedError` for none."""
    found = _KEY.fullmatch(header)
    if found is None:
        raise MalformedError("an Idempotency-Key has 8 to 64 letters, digits, hyphens and underscores")
    return found[1]


def request_hash(method: str, path: str, body: bytes) -> bytes:
    """Return what two requests have in common that ask the same."""
    parts = (method.encode(), path.encode(), body)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


class IdempotentRequests:
    """Carries each request out once for its key, of each actor for itself."""

    def __init__(self, storage: Storage, clock: Clock, lifetime: timedelta) -> None:
        self._storage = storage
        self._clock = clock
        self._lifetime = lifetime
        self._running: set[tuple[str, str]] = set()

    async def once(
        self, actor: str, key: str, request: bytes, work: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Return what `work` answers, or answered before to the same request with this key.

        `UnprocessableError` where the key was another request's, `ConflictError` while the first is carried
        out or where its outcome is not known; and what `work` raises, after which the key is free again.
        """
        named = (actor, key)
        if named in self._running:
            raise ConflictError("the request with this Idempotency-Key is still being carried out")
        self._running.add(named)
        try:
            now = self._clock.now()
            kept = await self._storage.write(
                lambda tx: api_requests.begin(tx, actor, key, request, now, now - self._lifetime)
            )
            if kept is not None:
                return _repeated(kept, request)
            return await self._first(actor, key, work)
        finally:
            self._running.discard(named)

    async def _first(self, actor: str, key: str, work: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            given = await work()
        except (PKIServerError, ProtocolError) as error:
            if error.kind is not ErrorKind.INTERNAL:  # a refusal did nothing
                await self._storage.write(lambda tx: api_requests.forget(tx, actor, key))
            raise
        await self._storage.write(lambda tx: api_requests.answer(tx, actor, key, given))
        return given


def _repeated(kept: Kept, request: bytes) -> Answer:
    if kept.request != request:
        raise UnprocessableError("this Idempotency-Key was used for another request: take a new one")
    if kept.answer is None:
        raise ConflictError(
            "the server stopped while it carried this request out: look at what it was about, and take a new"
            " Idempotency-Key"
        )
    return kept.answer
