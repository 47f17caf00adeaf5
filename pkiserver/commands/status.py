"""Commands on what the status of a certificate was."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pkiserver.audit import Head
from pkiserver.clock import utc_text
from pkiserver.commands.services import Caller, CommandEntry, CommandServices, certificate_of
from pkiserver.errors import RefusedError
from pkiserver.status.evidence import History

_RFC_3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)


async def status_at(
    services: CommandServices, _caller: Caller, /, *, serial: str, ca: str | None, time: str
) -> dict[str, Any]:
    return services.evidence.answer(await _history(services, serial, ca, time))


async def status_evidence(
    services: CommandServices, caller: Caller, /, *, serial: str, ca: str | None, time: str, head: str | None
) -> dict[str, Any]:
    kept = Head.parse(head) if head is not None else None
    history = await _history(services, serial, ca, time)
    return await services.evidence.collect(history, kept, caller.progress, caller.give_file)


async def _history(services: CommandServices, serial: str, ca: str | None, time: str) -> History:
    moment, now = parse_time(time), services.clock.now()
    if moment > now:
        raise RefusedError(f"{utc_text(moment)} is in the future: nobody knows the status of then")
    return await services.evidence.history(await certificate_of(services, serial, ca), moment)


def parse_time(text: str) -> datetime:
    """Return a time as RFC 3339 has it, in UTC and whole seconds; `RefusedError` for anything else."""
    refusal = RefusedError(
        f"{text[:60]!r} is no time with its zone: write it like 2026-03-01T12:00:00Z or"
        " 2026-03-01T20:00:00+08:00"
    )
    if _RFC_3339.fullmatch(text) is None:
        raise refusal
    try:
        return datetime.fromisoformat(text.upper()).replace(microsecond=0).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refusal from error


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "status.at": CommandEntry(status_at, reading=True),
    "status.evidence": CommandEntry(status_evidence, reading=True),
}
