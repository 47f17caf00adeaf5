"""The writing half of one connection: replies in octets, counted; and what the client leaves unread."""

import asyncio
from time import perf_counter
from typing import Final

from pkiserver.web.http_messages import HTTPReply
from pkiserver.web.http_service import HTTPService

_JOINED_BYTES: Final = (
    16_384  # larger bodies are written by themselves: a copy costs more than a second write
)

CLOSE: Final = b"Connection: close\r\n"
KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"


class ReplyWriter:
    """Writes replies to one transport, in the order of the calls; nothing once that is closing."""

    __slots__ = (
        "_behind_since", "_behind_taken", "_seen_unsent", "_service", "_written", "arrived", "transport",
    )  # fmt: skip

    def __init__(self, service: HTTPService) -> None:
        self._service = service
        self._seen_unsent = 0
        self._written = 0
        self._behind_since: float | None = None  # when something unsent was first seen, in the loop's clock
        self._behind_taken = 0  # what had been taken then
        self.transport: asyncio.Transport
        self.arrived = 0.0  # when the request that is answered next came, in the clock of `perf_counter`

    @property
    def unsent(self) -> int:
        """How many octets the client has not taken, beside what the kernel holds."""
        return self.transport.get_write_buffer_size()

    def send(self, reply: HTTPReply, connection: bytes, *, head_only: bool) -> None:
        """Write a reply with a Connection line or none, and count it."""
        service = self._service
        status, fields, body, outcome = reply
        if head_only:
            body = b""
        pieces = (b"HTTP/1.1 ", status, b"\r\n", service.date_line, fields, connection, b"\r\n")
        if len(body) <= _JOINED_BYTES:
            whole = b"".join((*pieces, body))
            size = len(whole)
            self.write(whole)
        else:
            head = b"".join(pieces)
            size = len(head) + len(body)
            self.write(head)
            self.write(body)
        service.counters.observe(outcome, size, perf_counter() - self.arrived)

    def write(self, data: bytes | memoryview) -> None:
        """Write octets, unless the client has gone."""
        if not self.transport.is_closing():
            self._written += len(data)
            self.transport.write(data)

    def end(self) -> None:
        """Say that nothing more is written."""
        if not self.transport.is_closing():
            self.transport.write_eof()

    def is_too_slow(self, elapsed: float) -> bool:
        """Tell whether the client, ever since something is unsent, takes less than `write_rate`.

        Who takes an octet now and then would otherwise hold a large file for ever, and with the next
        connection the next edition of it.
        """
        taken = self._written - self.unsent
        if taken == self._written:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since, self._behind_taken = elapsed, taken
        if self._behind_since is None:
            return False
        limits = self._service.limits
        counted_s = elapsed - self._behind_since - limits.write_s
        return taken - self._behind_taken < counted_s * limits.write_rate

    def is_taking(self) -> bool:
        """Tell whether the client took something of what is unsent since the last call; slowly maybe."""
        unsent, seen = self.unsent, self._seen_unsent
        self._seen_unsent = unsent
        return bool(unsent) and unsent != seen
