"""Checks a folder of evidence (`status.evidence`) without a home: what an auditor does with it.

Signatures of CRLs and OCSP responses are left to other tools, as the folder's README shows: a second opinion.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.audit import ChainError, Head
from pkiserver.audit_proof import read_links
from pkiserver.clock import utc_text
from pkiserver.errors import ConflictError
from pkiserver.ra.lifecycle import Action, State
from pkiserver.status.bulk_proof import batch_file, batch_of, told_of_events
from pkiserver.status.history import status_at
from protocols.asn1.ocsp import REASON_NAMES, CRLReason
from protocols.x509.certificate import serial_text
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
    told = _told(folder, (json.loads(text) for text in texts.values()))
    _check_events(events, told)
    _check_certificate(_read(folder / "certificate.pem"), answer, told[events[0]["sequence"]].detail)
    _check_answer(answer, events, told)
    return Checked(answer["serial"], answer["time"], answer["status"], len(events), files, links.head)


def _check_sums(folder: Path) -> int:
    if not (folder / "SHA256SUMS").exists():
        raise ConflictError(f"{folder} holds no evidence: give the folder that `status at --evidence` made")
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


class _Told(NamedTuple):
    """What an audit record says of an event; `record` is [sequence, at, actor, action, outcome, …]."""

    record: Sequence[Any]
    detail: Mapping[str, Any]


def _told(folder: Path, records: Iterable[Sequence[Any]]) -> dict[int, _Told]:
    """Return the audit records by the sequence numbers of their events; those of a batch, for each of it."""
    found: dict[int, _Told] = {}
    for record in records:
        detail = json.loads(record[5])
        if batch_of(record[3], record[5]) is None:
            found[detail["sequence"]] = _Told(record, detail)
            continue
        lines = _read(folder / batch_file(record[0])).splitlines(keepends=True)
        for one in told_of_events(record[3], detail, lines):
            told = one | {"serial": serial_text(one["serial"])}
            found[told["sequence"]] = _Told([*record[:3], told["action"], *record[4:]], told)
    return found


def _check_events(events: Sequence[Mapping[str, Any]], told: Mapping[int, _Told]) -> None:
    """Compare each event with the audit record of its commit, and with the event before it."""
    before: Mapping[str, Any] | None = None
    for event in events:
        sequence = event["sequence"]
        if sequence not in told:
            raise ConflictError(f"status event {sequence} has no audit record")
        record, detail = told[sequence]
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
            raise ConflictError(f"status event {sequence} is not what audit record {record[0]} tells")
        _check_order(event, before, detail)
        before = event


def _check_order(
    event: Mapping[str, Any], before: Mapping[str, Any] | None, detail: Mapping[str, Any]
) -> None:
    """Hold that this event is the next one of its certificate: the last in the list is what stands."""
    if before is None:
        if event["from"] is not None or event["to"] != State.ACTIVE.value:
            raise ConflictError("the events do not begin with the issuance")
        return
    if event["from"] is None or event["sequence"] <= before["sequence"]:
        raise ConflictError(f"the events are not in order: {event['sequence']} behind {before['sequence']}")
    if detail["previous"] != before["sequence"] or event["from"] != before["to"]:
        raise ConflictError(f"an event between {before['sequence']} and {event['sequence']} was left out")


def _check_certificate(pem: str, answer: Mapping[str, Any], issued: Mapping[str, Any]) -> None:
    """Compare the certificate with the audit record of its issuance, and the answer with it."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    same = (
        hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest() == issued["sha256"]
        and answer["not_before"] == utc_text(certificate.not_valid_before_utc)
        and answer["not_after"] == utc_text(certificate.not_valid_after_utc)
    )
    if not same:
        raise ConflictError(
            "certificate.pem is not what was issued, or its validity not what the answer says"
        )


def _check_answer(
    answer: Mapping[str, Any], events: Sequence[Mapping[str, Any]], told: Mapping[int, _Told]
) -> None:
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
    said = {
        "status": then.state.value,
        "revoked_at": utc_text(then.revoked_at) if then.revoked_at is not None else None,
        "reason": REASON_NAMES[CRLReason(then.reason)] if then.reason is not None else None,
        "since": utc_text(then.event.effective_at) if then.event is not None else None,
        "sequence": then.event.sequence if then.event is not None else None,
        "holds": _holds([told[one.sequence] for one in records if one.effective_at <= moment]),
    }
    for name, value in said.items():
        if answer[name] != value:
            raise ConflictError(
                f"the events say {name} {value or 'none'} at {answer['time']}, not {answer[name] or 'none'}"
            )


def _holds(past: Iterable[_Told]) -> str | None:
    """Return whose holds were open after these changes, as the answer has it."""
    holders: list[str] = []
    for record, detail in past:
        action = str(record[3]).removeprefix("certificate.")
        if action == Action.SUSPEND.value:
            holders.append(str(detail["by"]))
        elif action == Action.RESTORE.value:
            holders.remove(str(detail["by"]))
        elif action == Action.REVOKE.value:
            holders.clear()
    return ", ".join(holders) or None
