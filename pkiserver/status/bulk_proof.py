"""How the audit record of a batch of a bulk act proves each of its events: by the digest of a line for each.

A record tells what is the same of all: authority, states, reason and time. The lines, which go with the
evidence, tell which event was of which certificate, and which one was before it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pkiserver.audit import ChainError
from store.bulk_status import lines_digest

MAX_LINES: Final = 10_000
_PREFIX: Final = "bulk."


@dataclass(frozen=True, slots=True)
class BatchOfEvents:
    """What an audit record says of a batch: its first event, how many, and the digest of their lines."""

    first: int
    count: int
    digest: str


def batch_of(action: str, detail: str) -> BatchOfEvents | None:
    """Return the batch that an audit record is of, None for any other record."""
    values = json.loads(detail) if action.startswith(_PREFIX) else {}
    if "events" not in values:
        return None
    return BatchOfEvents(values["first"], values["count"], values["events"])


def batch_file(record: int) -> str:
    """Return the name of the file with the lines of the batch of an audit record."""
    return f"bulk-events-{record}.txt"


def told_of_events(action: str, detail: Mapping[str, Any], lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return what the record of a batch and its lines say of each event, as a record of each would.

    `ChainError` where the lines are not those of which the record has the digest.
    """
    held = list(lines)
    if len(held) > MAX_LINES or lines_digest(held) != detail["events"]:
        raise ChainError("the events of a bulk act are not those of its audit record")
    return [_told(action, detail, *line.split()) for line in held]


def _told(
    action: str, detail: Mapping[str, Any], sequence: str, serial: str, previous: str
) -> dict[str, Any]:
    common = {name: detail[name] for name in ("authority", "effective_at", "to", "reason", "by")}
    return common | {
        "action": f"certificate.{action.removeprefix(_PREFIX)}",
        "sequence": int(sequence),
        "serial": int(serial, 16),
        "previous": int(previous),
    }
