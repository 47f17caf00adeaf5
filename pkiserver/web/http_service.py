"""What the connections of one worker share: handler, limits, time, counters, and their list."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from pkiserver.clock import Clock
from pkiserver.web.http_bodies import BodyRoom
from pkiserver.web.http_limits import INTERNAL_ERROR, MADE_ROOM, MIN_IDLE_S, HTTPLimits
from pkiserver.web.http_messages import Answer, HTTPRequest
from pkiserver.web.http_plain import PlainRequests
from pkiserver.web.status_counters import StatusCounters
from protocols.ocsp.http import http_date

_TICK_S: Final = 0.2  # how old the time in use may be

Handler = Callable[[HTTPRequest, datetime], Answer]


class Connection(Protocol):
    """What the service does with a connection."""

    def check_time(self, elapsed: float) -> None: ...

    def close_if_quiet(self, since: float) -> None: ...

    def abort(self) -> None: ...

    def quiet_since(self) -> float | None: ...


class HTTPService:
    """What the connections of one worker share: handler, limits, time, counters and the list of them."""

    def __init__(
        self,
        handler: Handler,
        *,
        clock: Clock,
        limits: HTTPLimits,
        loop: asyncio.AbstractEventLoop,
        on_tick: Callable[[], None],
        on_error: Callable[[Exception], None],
        room: BodyRoom | None = None,
    ) -> None:
        """Take the handler, which does not wait: it answers at once, or gives a future of its answer.

        `on_tick` is called some times a second while requests come, `on_error` with what a handler raised:
        that request is answered with 500. Without `room` no body is larger than `MAX_BODY_BYTES`.
        """
        self.handler = handler
        self.limits = limits
        self.loop = loop
        self.counters = StatusCounters()
        self.connections: set[Connection] = set()
        self.draining = False
        self.plain = PlainRequests()
        self.room = room or BodyRoom()
        self.on_error = on_error
        self._on_tick = on_tick
        self._clock = clock
        self._next_tick = 0.0
        self._no_room_until = 0.0
        self.now = clock.now()
        self.date_line = b""
        self.tick()

    def tick(self) -> None:
        """Bring the time up to date, unless it was lately."""
        elapsed = self.loop.time()
        if elapsed < self._next_tick:
            return
        self._next_tick = elapsed + _TICK_S
        self.now = self._clock.now()
        self.date_line = b"Date: %b\r\n" % http_date(self.now)
        self._on_tick()

    def handled(self, request: HTTPRequest) -> Answer:
        """Return what the handler answers; a fault of its own is reported, and answered without detail."""
        try:
            return self.handler(request, self.now)
        except Exception as error:  # noqa: BLE001 - the outermost handler
            self.on_error(error)
            return INTERNAL_ERROR

    def sweep(self) -> None:
        """End the connections whose time is over; to be called about once a second."""
        self.tick()
        elapsed = self.loop.time()
        for connection in list(self.connections):
            connection.check_time(elapsed)

    def make_room(self) -> bool:
        """Close the connections that are idle the longest; False where none is.

        Who holds many connections without using them must not keep all others out.
        """
        elapsed = self.loop.time()
        if elapsed < self._no_room_until:
            return False
        idle = [(since, id(one), one) for one in self.connections if (since := one.quiet_since()) is not None]
        old = [found for found in idle if found[0] <= elapsed - MIN_IDLE_S]
        for since, _, connection in heapq.nsmallest(MADE_ROOM, old):
            connection.close_if_quiet(since)
            self.connections.discard(connection)
        if not old:
            self._no_room_until = elapsed + _TICK_S  # a look at thousands of them takes a millisecond
        return bool(old)

    async def drain(self, deadline_s: float) -> None:
        """Answer what is under way, close connections as they fall quiet, and all after the deadline.

        A connection stays for `drain_quiet_s` after its last octet: a request already on the way to it
        is answered. Every answer from now on says `Connection: close`.
        """
        self.draining = True
        end = self.loop.time() + deadline_s
        while self.connections and self.loop.time() < end:
            quiet_since = self.loop.time() - self.limits.drain_quiet_s
            for connection in list(self.connections):
                connection.close_if_quiet(quiet_since)
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()
