"""A sender of syslog (RFC 5424) over UDP (RFC 5426), TCP (RFC 6587, octets counted) or a Unix socket.

What is sent says itself whether it is genuine, and is no secret: no TLS is needed for it.
"""

import asyncio
import base64
import os
import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from pkiserver.audit_heads.signed_head import Outgoing, SignedHead
from pkiserver.clock import utc_text

_PRIORITY: Final = 13 * 8 + 5  # log audit, notice (RFC 5424 §6.2.1)
_STRUCTURE: Final = "auditHead@32473"  # an enterprise number for documentation (RFC 5612)
_MAX_HOST_CHARACTERS: Final = 255


def syslog_message(head: SignedHead, host: str) -> bytes:
    """Return the message of a head (RFC 5424 §6): in its text the SignedData without certificates.

    Some 1,000 octets, 1,700 with an RSA key of 4096 bits: receivers should take 2,048 (§6.1).
    """
    values = {"sequence": str(head.head.sequence), "hash": head.head.hash, "installation": head.installation}
    structure = " ".join(f'{name}="{value}"' for name, value in values.items())
    cms = base64.b64encode(head.encode()).decode("ascii")
    header = f"<{_PRIORITY}>1 {utc_text(head.at)} {_printable(host)} pkiserver {os.getpid()} audit-head"
    return f"{header} [{_STRUCTURE} {structure}] cms={cms}".encode("ascii")


def _printable(host: str) -> str:
    return "".join(one for one in host if "!" <= one <= "~")[:_MAX_HOST_CHARACTERS] or "-"


class SyslogWay:
    """Sends heads to one receiver. Over UDP nobody says whether they arrived."""

    def __init__(self, receiver: str) -> None:
        """`receiver` is udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH."""
        parts = urlsplit(receiver)
        self._kind = parts.scheme
        self._path = parts.path
        self._host, self._port = parts.hostname or "", parts.port or 0

    async def send(self, heads: Sequence[Outgoing]) -> None:
        """Send heads in their order; `OSError` where they could not be handed over."""
        host = socket.gethostname()
        messages = [syslog_message(one.head, host) for one in heads]
        if self._kind == "tcp":
            await self._stream(messages)
        elif self._kind == "udp":
            await self._datagrams(messages)
        else:
            _send(socket.AF_UNIX, self._path, messages)

    async def _stream(self, messages: Sequence[bytes]) -> None:
        _, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(b"".join(b"%d %s" % (len(one), one) for one in messages))  # RFC 6587 §3.4.1
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()

    async def _datagrams(self, messages: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        family, _, _, _, address = found[0]
        _send(family, address, messages)


def _send(family: int, address: object, messages: Sequence[bytes]) -> None:
    """Hand datagrams over without waiting: what the socket does not take now is tried again later."""
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(address)  # type: ignore[arg-type]  # a path, or what getaddrinfo gave
        for message in messages:
            sender.send(message)
