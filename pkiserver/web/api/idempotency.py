"""A request that is repeated because its answer was lost is carried out once, and answered alike.

That something was changed is noted in the transaction that changes it. So a server that broke before it
leaves nothing behind, and the repeated request is carried out; one that broke after it has the answer, where
that was made in the same transaction (`answered`), or refuses: the client looks at the thing itself. Kept
answers are encrypted, since one of them may be the only time that a secret is shown; the hashes of requests
have a key, since of numbers of people there are few enough to try them all.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Final, TypeVar

from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, PKIServerError, UnprocessableError
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.storage import Storage, noting
from pkiserver.web.api.conditions import etag
from pkiserver.web.api.operations import Answer, Octets
from protocols.errors import ErrorKind, MalformedError, ProtocolError
from store import api_requests
from store.api_requests import Answer as KeptAnswer
from store.api_requests import Kept
from store.database import Transaction

_KEY: Final = re.compile(
    r'"?([A-Za-z0-9_-]{8,64})"?', re.ASCII
)  # a UUID has 36; the draft's quotes may stand

_UNKNOWN: Final = (ErrorKind.INTERNAL, ErrorKind.UNAVAILABLE)  # it may have failed after the deed


def parse_key(header: str) -> str:
    """Return the key of an Idempotency-Key header; `MalformedError` for none."""
    found = _KEY.fullmatch(header)
    if found is None:
        raise MalformedError("an Idempotency-Key has 8 to 64 letters, digits, hyphens and underscores")
    return found[1]


def request_hash(method: str, path: str, body: bytes, about: str = "") -> bytes:
    """Return what two requests have in common that ask the same, on behalf of the same holder."""
    parts = (method.encode(), path.encode(), body, about.encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def given(answer: Answer) -> KeptAnswer:
    """Return an answer of an operation as it is sent."""
    tag = None if answer.version is None else etag(answer.version)
    message = answer.message
    octets = message.octets if isinstance(message, Octets) else message.model_dump_json().encode()
    return KeptAnswer(200, tag, octets)


Result = TypeVar("Result")


class _Deed:
    """One request with a key, while it is carried out: notes what it changes, with the answer if it can."""

    def __init__(self, actor: str, key: str, sealed: SealedSecrets) -> None:
        self._actor = actor
        self._key = key
        self._sealed = sealed
        self.expected: type | None = None  # of what the transaction returns from which the answer is made
        self.render: Callable[[Any], Answer] | None = None
        self.kept: KeptAnswer | None = None

    def note(self, tx: Transaction, result: object) -> None:
        """Write down that something changed; as a part of every transaction of the request."""
        if self.render is not None and self.expected is not None and isinstance(result, self.expected):
            self.keep(tx, given(self.render(result)))
        else:
            api_requests.mark_done(tx, self._actor, self._key)

    def keep(self, tx: Transaction, answer: KeptAnswer) -> None:
        """Keep the answer, encrypted."""
        sealed = self._sealed.seal(_place(self._actor, self._key), answer.body.decode())
        api_requests.answer(tx, self._actor, self._key, answer._replace(body=sealed))
        self.kept = answer


_DEED: Final[ContextVar[_Deed | None]] = ContextVar("deed", default=None)


async def answered(
    expected: type[Result], deed: Awaitable[Result], render: Callable[[Result], Answer]
) -> Answer:
    """Return the answer that `render` makes of what a service's one transaction returns.

    Where the request has a key, that is done within the transaction: deed and answer are on disk together.
    """
    under_way = _DEED.get()
    if under_way is not None:
        under_way.expected, under_way.render = expected, render
    return render(await deed)


class IdempotentRequests:
    """Carries each request out once for its key, of each actor for itself."""

    def __init__(
        self, storage: Storage, clock: Clock, lifetime: timedelta, sealed_secrets: SealedSecrets
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._lifetime = lifetime
        self._sealed = sealed_secrets
        self._running: set[tuple[str, str]] = set()

    async def once(
        self, actor: str, key: str, request: bytes, work: Callable[[], Awaitable[KeptAnswer]]
    ) -> KeptAnswer:
        """Return what `work` answers, or answered before to the same request with this key.

        `UnprocessableError` where the key was another request's, `ConflictError` while the first is carried
        out or where only its answer is lost; and what `work` raises, after which the key is free again.
        """
        named, request = (actor, key), self._sealed.keyed_hash(request)
        if named in self._running:
            raise ConflictError("the request with this Idempotency-Key is still being carried out")
        self._running.add(named)
        try:
            now = self._clock.now()
            kept = await self._storage.write(
                lambda tx: api_requests.begin(tx, actor, key, request, now, now - self._lifetime)
            )
            if kept is not None and (kept.done or kept.request != request):
                return self._repeated(kept, request, _place(actor, key))
            return await self._first(actor, key, work)
        finally:
            self._running.discard(named)

    async def _first(self, actor: str, key: str, work: Callable[[], Awaitable[KeptAnswer]]) -> KeptAnswer:
        deed = _Deed(actor, key, self._sealed)
        token = _DEED.set(deed)
        try:
            with noting(deed.note):
                answer = await work()
        except (PKIServerError, ProtocolError) as error:
            if error.kind not in _UNKNOWN:  # a refusal did nothing
                await self._storage.write(lambda tx: api_requests.forget(tx, actor, key))
            raise
        finally:
            _DEED.reset(token)
        if deed.kept != answer:
            await self._storage.write(lambda tx: deed.keep(tx, answer))
        return answer

    def _repeated(self, kept: Kept, request: bytes, place: str) -> KeptAnswer:
        if kept.request != request:
            raise UnprocessableError("this Idempotency-Key was used for another request: take a new one")
        if kept.answer is None:
            raise ConflictError(
                "this request was carried out, and the server stopped before it was answered: look at what it"
                " was about, and take a new Idempotency-Key"
            )
        body = self._sealed.unseal(place, kept.answer.body).encode()
        return kept.answer._replace(body=body)


def _place(actor: str, key: str) -> str:
    return f"api answer/{actor}/{key}"
