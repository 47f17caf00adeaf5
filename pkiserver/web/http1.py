"""One HTTP/1.0 or 1.1 connection on the server's side (RFC 9112): its life, the order of answers, its time.

Requests are `http_reader`'s, octets of replies `http_writer`'s, what is answered the handler's. All that a
client may make grow is bounded, in bytes, time and number, by `http_limits`.
"""

import asyncio
from collections import deque
from functools import partial
from time import perf_counter
from typing import Final, cast

from pkiserver.web.http_limits import (
    INTERNAL_ERROR,
    LATE,
    MAX_LINGERING,
    OVERLOADED,
    SLICE_BYTES,
    TIMED_OUT,
    TRUNCATED,
)
from pkiserver.web.http_messages import Answer, HTTPReply
from pkiserver.web.http_reader import RequestReader, Turn
from pkiserver.web.http_service import HTTPService
from pkiserver.web.http_writer import CLOSE, KEEP_ALIVE, ReplyWriter

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class HTTPConnection(asyncio.Protocol):
    """One connection. Requests are answered in order, each as soon as its last octet is here.

    While an answer is promised nothing more is read, and what came in the same slice waits for its turn:
    one promise a connection, and no more requests behind it than a slice holds.
    """

    __slots__ = (
        "_allowed_s", "_awaited", "_eof", "_full", "_paused", "_promised_at", "_reader", "_service", "_since",
        "_transport", "_turns", "_unfed", "_writer", "closing", "peer",
    )  # fmt: skip

    def __init__(self, service: HTTPService) -> None:
        self._service = service
        self._reader = RequestReader(self, service.room, service.on_error)
        self._writer = ReplyWriter(service)
        self._transport: asyncio.Transport
        self._unfed = b""  # received and not parsed: the client reads too slowly, or an answer is awaited
        self._full = False  # as much is unsent as may be
        self._awaited: asyncio.Future[HTTPReply] | None = None
        self._promised_at = 0.0
        self._turns: deque[Turn | bytes] | None = None  # what is to be done and sent after that
        self._paused = False  # full, or an answer is awaited
        self._eof = False  # the client has said all, while something was unfed
        self.closing = False  # nothing more is read
        self.peer = ""  # the other end's address
        self._since = service.loop.time()
        self._allowed_s = service.limits.request_s

    # ---- The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._writer.transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        self.peer = address[0] if isinstance(address, tuple) else ""
        service = self._service
        service.connections.add(self)
        service.counters.connections_total += 1
        service.counters.connections = len(service.connections)
        excess = len(service.connections) - service.limits.connections
        if excess > 0 and service.make_room():
            excess = 0
        if excess > MAX_LINGERING:
            self.closing = True
            self._transport.abort()
        elif excess > 0:
            self._writer.arrived = perf_counter()
            self.refuse(OVERLOADED)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        service = self._service
        service.connections.discard(self)
        service.counters.connections = len(service.connections)
        self.closing = True
        self._unfed = b""
        self._turns = None
        self._reader.give_back_room()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self._writer.arrived = perf_counter()
        service = self._service
        service.tick()
        if not (self._reader.started or self._unfed or self._paused or service.draining):
            request = service.plain.request(data, self.peer)
            if request is not None:
                answer = service.handled(request)
                if type(answer) is HTTPReply:
                    self._writer.send(answer, b"", head_only=False)
                    self._since = service.loop.time()
                    self._allowed_s = service.limits.idle_s
                else:
                    self._answer(Turn(request, True, False, False), answer)
                return
        if len(data) <= SLICE_BYTES and not self._paused and not self._unfed:
            self._reader.feed(data)
        else:
            self._unfed += data  # reading is paused with the writing: one more reception at most
            self._feed_slices()

    def eof_received(self) -> bool:
        """Answer what is left; return True to keep the writing half until that is done."""
        if self._unfed or self._awaited is not None:
            self._eof = True
            return True
        if self._reader.started and not self.closing:
            self.refuse(TRUNCATED)
        self._wait_for_client()
        return False  # the transport closes itself when all is written

    def pause_writing(self) -> None:
        self._full = self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._go_on()

    def _go_on(self) -> None:
        """Take up what was left unread, unless it still has to wait."""
        if self._full or self._awaited is not None:
            return
        self._paused = False
        self._feed_slices()
        if self._paused or self._transport.is_closing():
            return
        if self._eof:
            self.eof_received()
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _feed_slices(self) -> None:
        while self._unfed and not self._paused and not self.closing:
            piece, self._unfed = self._unfed[:SLICE_BYTES], self._unfed[SLICE_BYTES:]
            self._reader.feed(piece)

    # ---- The reader's side

    def begin_request(self) -> None:
        """Have the time of a request run."""
        self._since = self._service.loop.time()
        self._allowed_s = self._service.limits.request_s

    def send_continue(self) -> None:
        """Say, in its turn, that the body is wanted."""
        if self._turns is None:
            self._writer.write(_CONTINUE)
        else:
            self._turns.append(_CONTINUE)

    def take(self, turn: Turn) -> None:
        """Answer a request, in its turn."""
        if self._transport.is_closing():
            self.closing = True  # the client has gone while its requests were answered
        elif self._turns is not None:
            self._queue(turn)
        else:
            self._answer(turn, self._reply_to(turn))

    def refuse(self, reply: HTTPReply) -> None:
        """Answer what cannot be read on, and end."""
        head_only = self._reader.head_only
        if self._turns is not None:
            self._queue(Turn(reply, False, False, head_only))
            return
        self._writer.send(reply, CLOSE, head_only=head_only)
        self._finish()

    # ---- Taking turns

    def _reply_to(self, turn: Turn) -> Answer:
        asked = turn.asked
        return asked if isinstance(asked, HTTPReply) else self._service.handled(asked)

    def _answer(self, turn: Turn, answer: Answer) -> None:
        """Write what is asked in this turn, or wait for it; nothing more is read until it is there."""
        if isinstance(answer, HTTPReply):
            self._write(turn, answer)
            return
        if self._turns is None:
            self._turns = deque()
        self._end_reading(turn)
        self._awaited = answer
        self._paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._promised_at = self._service.loop.time()
        answer.add_done_callback(partial(self._answered, turn))

    def _queue(self, turn: Turn) -> None:
        """Have this done after what is awaited."""
        if self._turns is not None:
            self._turns.append(turn)
            self._end_reading(turn)

    def _end_reading(self, turn: Turn) -> None:
        if not turn.keep_alive:
            self.closing = True
            self._unfed = b""

    def _answered(self, turn: Turn, answer: asyncio.Future[HTTPReply]) -> None:
        """Write the answer that was awaited, and all that waited behind it up to the next such one."""
        self._awaited = None
        reply = self._promised(answer)
        if self._turns is None or self._transport.is_closing():
            return  # the client has gone
        self._service.tick()
        self._answer(turn, reply)
        while self._turns and self._awaited is None and not self._transport.is_closing():
            following = self._turns.popleft()
            if isinstance(following, bytes):
                self._writer.write(following)
            else:
                self._answer(following, self._reply_to(following))
        if self._awaited is None:
            self._turns = None
            if self._reader.started and not self.closing:
                self._allowed_s = self._service.limits.request_s
            self._go_on()

    def _promised(self, answer: asyncio.Future[HTTPReply]) -> HTTPReply:
        if answer.cancelled():
            return LATE
        error = answer.exception()
        if error is None:
            return answer.result()
        self._service.on_error(error if isinstance(error, Exception) else RuntimeError(str(error)))
        return INTERNAL_ERROR

    def _write(self, turn: Turn, reply: HTTPReply) -> None:
        """Write a reply; where the connection is not kept, close it when all is written."""
        keep_alive = turn.keep_alive and (bool(self._turns) or not self._service.draining)
        connection = (KEEP_ALIVE if turn.say_so else b"") if keep_alive else CLOSE
        self._writer.send(reply, connection, head_only=turn.head_only)
        self._since = self._service.loop.time()
        self._allowed_s = self._service.limits.idle_s
        if not keep_alive:
            self._finish()

    # ---- Time, and the end

    def _finish(self) -> None:
        """Send the end of data, and skip what still comes until the client closes (RFC 9112 §9.6)."""
        self.closing = True
        self._unfed = b""
        self._since = self._service.loop.time()
        self._allowed_s = self._service.limits.linger_s
        self._writer.end()

    def _wait_for_client(self) -> None:
        """Read no more; the client has `write_s` to take what is written."""
        self.closing = True
        self._since = self._service.loop.time()
        self._allowed_s = self._service.limits.write_s

    def check_time(self, elapsed: float) -> None:
        """End the connection where the client took too long, and what is awaited where that does."""
        if self._awaited is not None:
            if elapsed - self._promised_at >= self._service.limits.answer_s:
                self._awaited.cancel()
            return
        if self._writer.is_taking():
            self._since = elapsed
            self._allowed_s = self._service.limits.write_s
        too_slow = self._writer.is_too_slow(elapsed)
        if elapsed - self._since < self._allowed_s and not too_slow:
            return
        if self._writer.unsent or self.closing:
            self._transport.abort()
        elif self._reader.started:
            self._writer.arrived = perf_counter()
            self.refuse(TIMED_OUT)
        else:
            self.closing = True
            self._transport.close()

    def close_if_quiet(self, since: float) -> None:
        """Close the connection where nothing is under way and nothing happened since."""
        quiet_since = self.quiet_since()
        if quiet_since is not None and quiet_since <= since:
            self.closing = True
            self._transport.close()

    def quiet_since(self) -> float | None:
        """Return when something happened last, in the loop's clock; None where something is under way."""
        reading = not self.closing and (self._reader.started or self._unfed)
        busy = reading or self._awaited is not None or self._writer.unsent
        return None if busy else self._since

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()
