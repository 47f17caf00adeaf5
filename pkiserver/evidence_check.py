"""Checks a folder of evidence (`status.evidence`) without a home: what an auditor does with it.

Signatures of CRLs and OCSP responses are left to other tools, as the folder's README shows: a second opinion.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pkiserver.audit import ChainError, Head
from pkiserver.audit_proof import read_links
from pkiserver.clock import utc_text
from pkiserver.errors import ConflictError
from pkiserver.status.history import status_at
from protocols.asn1.ocsp import REASON_NAMES
from store.records import StatusEventRecord

MAX_EVENTS: Final = 100_000
MAX_FILE_OCTETS: Final = 64 << 20  # of what is read at once; links are read line by line
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,60}", re.ASCII)
_PIECE: Final = 1 << 20
_REASONS: Final = {name: reason.value for reason, name in REASON_NAMES.items()}
_AUDIT_REASONS: Final = {name: reason.name for reason, name in REASON_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found right."""

    serial: str
    time: str
    status: str
    events: int
    files: int
    head: Head


def check_evidence(folder: Path, head: Head | None) -> Checked:
    """Check a folder, against a head that was kept elsewhere where one is given.

    `ConflictError`, or the `ChainError` that is one, says what does not fit.
    """
    try:
        return _check(folder, head)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConflictError("the evidence is damaged: a file is not what `status at` writes") from error


def _check(folder: Path, head: Head | None) -> Checked:
    files = _check_sums(folder)
    answer = json.loads(_read(folder / "status.json"))
    events = json.loads(_read(folder / "events.json"))
    if not 0 < len(events) <= MAX_EVENTS:
        raise ConflictError("the evidence holds no status event, or too many")
    texts = _texts(folder)
    with (folder / "audit-links.txt").open(encoding="ascii") as lines:
        links = read_links(lines, frozenset(texts))
    for sequence, text in texts.items():
        if hashlib.sha256(text.encode("ascii")).hexdigest() != links.digests.get(sequence):
            raise ChainError(f"audit record {sequence} is not the one that the links lead over")
    if head is not None and head != links.head:
        raise ChainError(f"the proof leads to audit record {links.head.sequence}, not to the given head")
    _check_events(events, [json.loads(text) for text in texts.values()])
    _check_answer(answer, events)
    return Checked(answer["serial"], answer["time"], answer["status"], len(events), files, links.head)


def _check_sums(folder: Path) -> int:
    lines = _read(folder / "SHA256SUMS").splitlines()
    for line in lines:
        digest, _, name = line.partition("  ")
        if _NAME.fullmatch(name) is None:
            raise ConflictError("SHA256SUMS names what is no file of evidence")
        if _digest(folder / name) != digest:
            raise ConflictError(f"{name} was altered")
    return len(lines)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_FILE_OCTETS + 1)
    if len(content) > MAX_FILE_OCTETS:
        raise ConflictError(f"{path.name} is too large")
    return content.decode()


def _texts(folder: Path) -> dict[int, str]:
    records = [json.loads(line) for line in _read(folder / "audit-records.jsonl").splitlines()]
    return {int(record["sequence"]): str(record["text"]) for record in records}


def _check_events(events: Sequence[Mapping[str, Any]], records: Sequence[Sequence[Any]]) -> None:
    """Compare each event with the audit record of its commit: [sequence, at, actor, action, outcome, …]."""
    told = {}
    for record in records:
        detail = json.loads(record[5])
        told[detail["sequence"]] = (record, detail)
    for event in events:
        if event["sequence"] not in told:
            raise ConflictError(f"status event {event['sequence']} has no audit record")
        record, detail = told[event["sequence"]]
        issued = event["from"] is None
        same = (
            detail["serial"] == event["serial"]
            and detail["authority"] == event["authority"]
            and datetime.fromisoformat(detail["effective_at"]) == datetime.fromisoformat(event["at"])
            and record[4] == "done"
            and (record[3] == "certificate.issue") == issued
            and (issued or detail["to"] == event["to"])
            and (issued or detail["reason"] == _AUDIT_REASONS.get(event["reason"]))
        )
        if not same:
            raise ConflictError(
                f"status event {event['sequence']} is not what audit record {record[0]} tells"
            )


def _check_answer(answer: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
    """Replay the events: the answer must follow from them."""
    records = [
        StatusEventRecord(
            event["sequence"],
            event["authority"],
            int(event["serial"], 16),
            event["from"],
            event["to"],
            None if event["reason"] is None else _REASONS[event["reason"]],
            datetime.fromisoformat(event["at"]),
            "",
        )
        for event in events
    ]
    if len({(record.authority, record.serial) for record in records}) != 1:
        raise ConflictError("the evidence holds events of several certificates")
    if int(answer["serial"], 16) != records[0].serial:
        raise ConflictError("the answer is about another certificate than the events")
    not_after, moment = datetime.fromisoformat(answer["not_after"]), datetime.fromisoformat(answer["time"])
    then = status_at(records, (), not_after, moment)
    revoked_at = utc_text(then.revoked_at) if then.revoked_at is not None else None
    if (answer["status"], answer["revoked_at"]) != (then.state.value, revoked_at):
        raise ConflictError(f"the events say {then.state.value} at {answer['time']}, not {answer['status']}")
