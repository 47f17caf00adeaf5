"""The daily files of the public register: `register/YYYY-MM-DD.csv.gz` and the page that lists them.

A file holds the changes of one day in UTC and is written when the day is over; one that a stopped server
missed, when it runs again. The same day gives the same octets. An event that comes late (the clock was set
back) has the file of its day made anew.
"""

import asyncio
import gzip
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from html import escape
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from pkiserver.clock import Clock
from pkiserver.errors import PKIServerError
from pkiserver.home import PUBLIC_FILE_MODE, replaced_file, write_file
from pkiserver.status.register import Entry, Register, utc_text
from pkiserver.storage import Storage
from store import facts, register, status_events

HEADER: Final = "sequence,ca,serial,state,reason,at\n"
MARGIN: Final = timedelta(minutes=5)  # after midnight: commits under way then are of the day before
POLL_S: Final = 30.0  # looks for a day that is over at least this often
PAGE: Final = 5_000  # events read at once
MAX_DAYS: Final = 7_305  # twenty years; of more, the newest
_POSITION: Final = "register-position"
_EPOCH: Final = date(1970, 1, 1)
_DAY: Final = timedelta(days=1)
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.csv\.gz", re.ASCII)
_log = structlog.get_logger("pkiserver.register")


class RegisterFiles:
    """Writes what is missing of the daily files."""

    def __init__(self, *, storage: Storage, clock: Clock, source: Register, folder: Path) -> None:
        self._storage = storage
        self._clock = clock
        self._source = source
        self._folder = folder
        self._index = folder / "index.html"
        self._done: date | None = None  # nothing is missing up to this day
        self._failing = False

    async def run(self) -> None:
        """Write what is due until cancelled."""
        while True:
            await self.attempt()
            await asyncio.sleep(POLL_S)

    async def attempt(self) -> None:
        """Write what is due; what cannot be written now is tried again by the next call."""
        try:
            await self.work()
        except (PKIServerError, OSError) as error:
            if not self._failing:
                _log.error("register-not-written", reason=str(error))
            self._failing = True
            return
        self._failing = False

    async def work(self) -> None:
        """Write the files of the days that are over and have none, or have got later events."""
        last = (self._clock.now() - MARGIN).date() - _DAY
        if self._done is not None and last <= self._done:
            return
        first = await self._storage.read(register.first_time)
        position = int(await self._storage.read(lambda tx: facts.get(tx, _POSITION)) or 0)
        head = await self._storage.read(status_events.head)
        touched = await self._storage.read(lambda tx: register.days(tx, position))
        written = self._written()
        start = max(first.date() if first else last + _DAY, last - (MAX_DAYS - 1) * _DAY)
        wanted = [start + number * _DAY for number in range((last - start).days + 1)]
        late = {_EPOCH + number * _DAY for number in touched}
        due = [day for day in wanted if day not in written or day in late]
        for day in due:
            await self._write_day(day)
        if due or not self._index.exists():  # from the first day on
            page = render_index(sorted({*written, *due}, reverse=True))
            await asyncio.to_thread(write_file, self._index, page, PUBLIC_FILE_MODE)
        await self._storage.write(lambda tx: facts.put(tx, _POSITION, str(head)))
        self._done = last

    def _written(self) -> set[date]:
        matches = (_NAME.fullmatch(path.name) for path in self._folder.glob("*.csv.gz"))
        return {date.fromisoformat(match[1]) for match in matches if match}

    async def _write_day(self, day: date) -> None:
        with replaced_file(self._folder / f"{day}.csv.gz", PUBLIC_FILE_MODE) as file:
            await self._write_entries(file, day)
        _log.info("register-day-written", day=str(day))

    async def _write_entries(self, file: BinaryIO, day: date) -> None:
        """Write the lines of a day; neither a name nor a time goes into the compressed file."""
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = begin + _DAY
        last = (begin, 0)
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            packed.write(HEADER.encode("ascii"))
            while found := await self._storage.read(
                partial(register.between, begin=last[0], end=end, sequence=last[1], limit=PAGE)
            ):
                last = (found[-1].effective_at, found[-1].sequence)
                lines = "".join(csv_line(self._source.entry(record)) for record in found)
                await asyncio.to_thread(packed.write, lines.encode("ascii"))


def csv_line(entry: Entry) -> str:
    """Return the line of an entry; nothing in one needs quotes (RFC 4180 §2)."""
    fields = (str(entry.sequence), entry.ca, entry.serial, entry.state, entry.reason or "")
    return ",".join((*fields, utc_text(entry.at))) + "\n"


def render_index(days: Sequence[date]) -> bytes:
    """Return the page that lists the daily files, in Mongolian and English."""
    items = "\n".join(f'<li><a href="{day}.csv.gz">{escape(str(day))}</a></li>' for day in days)
    return _INDEX.replace("ITEMS", items or _NONE_YET).encode()


_NONE_YET: Final = """<li>Анхны файл шөнө дундын (UTC) дараа гарна.
<span lang="en">The first file comes after midnight (UTC).</span></li>"""
_INDEX: Final = """<!DOCTYPE html>
<html lang="mn">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Гэрчилгээний нийтийн бүртгэл · Public register of certificates</title>
<style>body{font:1rem/1.5 sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}</style>
</head>
<body>
<main>
<h1>Гэрчилгээний нийтийн бүртгэл<br><span lang="en">Public register of certificates</span></h1>
<p>Олгосон, түдгэлзүүлсэн, сэргээсэн, хүчингүй болгосон гэрчилгээний серийн дугаар, өдрөөр (UTC).</p>
<p lang="en">Serial numbers of issued, suspended, restored and revoked certificates, a file a day (UTC).
Columns: sequence, ca, serial, state, reason, at.</p>
<ul>
ITEMS
</ul>
</main>
</body>
</html>
"""
