"""A public folder for tests, and what serves it, with a clock of its own; CRLs that nobody signed."""

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pkiserver.web.http_messages import Answer, HTTPReply, HTTPRequest
from pkiserver.web.static import StaticFiles
from protocols.asn1 import der
from protocols.crl import assemble_crl, build_tbs_cert_list

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WRITTEN = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)


_ALGORITHM = der.sequence(der.oid("1.2.840.10045.4.3.2"))
FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def crl_until(next_update: datetime, entries: bytes = b"") -> bytes:
    """Return a CRL with this nextUpdate, unsigned: nobody here looks."""
    tbs = build_tbs_cert_list(_ALGORITHM, der.sequence(), WRITTEN, next_update, entries, bytes(20), 1)
    return assemble_crl(tbs, _ALGORITHM, b"unsigned")


class Folder:
    """A public folder and what serves it, with a clock of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.elapsed = 100.0
        self.files = StaticFiles(path, max_age=timedelta(seconds=60), monotonic=lambda: self.elapsed)

    def write(self, name: str, content: bytes, written: datetime = WRITTEN) -> None:
        """Put a file in its place as the publisher does, by renaming."""
        (self.path / name).parent.mkdir(exist_ok=True)
        fresh = self.path / f"{name}.new"
        fresh.write_bytes(content)
        os.utime(fresh, (written.timestamp(), written.timestamp()))
        fresh.rename(self.path / name)

    def compress(self, name: str, content: bytes, written: datetime = WRITTEN) -> bytes:
        """Put the compressed form of this content beside a file."""
        compressed = gzip.compress(content)
        self.write(name + ".gz", compressed, written)
        return compressed

    def answer(self, path: bytes, method: bytes = b"GET", now: datetime = NOW, **fields: bytes) -> Answer:
        named = {name.replace("_", "-").encode(): value for name, value in fields.items()}
        return self.files.handle(HTTPRequest(method, path, named, b""), now)

    def ask(self, path: bytes, method: bytes = b"GET", now: datetime = NOW, **fields: bytes) -> HTTPReply:
        reply = self.answer(path, method, now, **fields)
        assert isinstance(reply, HTTPReply)
        return reply


def lines(reply: HTTPReply) -> dict[str, str]:
    """Return the header fields of a reply."""
    return dict(line.split(": ", 1) for line in reply.fields.decode().split("\r\n")[:-1])
