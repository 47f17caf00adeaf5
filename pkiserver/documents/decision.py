"""The decision of a case as PDF: suspension, restoration, revocation, unblocking (regulation 3.1 to 3.6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reportlab.platypus import KeepTogether

from pkiserver.documents.page import HEADING, SMALL, TITLE, Flow, by_hand, fields, pages, paragraph, space
from pkiserver.documents.words import CHANNELS, DECISION, GROUNDS, Language, words

EVIDENCE: Final = ("body", "number", "date", "document", "letter", "message")


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class CaseDecision:
    """A decided case; times are printed in the zone that they are given in."""

    case: int
    kind: str
    channel: str
    ground: str
    holder: str | None  # None: not on record
    serial: str
    office: str | None
    lifts: int | None
    evidence: Mapping[str, str]
    received_at: datetime
    due_at: datetime
    granted: bool
    why: str
    decided_at: datetime
    decided_by: str
    entered_by: str


def decision_pdf(decision: CaseDecision, language: Language) -> bytes:
    """Return the decision as PDF: the same one, the same octets."""
    said = words(DECISION, language)
    title = f"{said[decision.kind]} · {said['case']} {decision.case}"
    return pages(title, language, title, lambda: _flow(decision, said, language))


def _flow(decision: CaseDecision, said: dict[str, str], language: Language) -> Flow:
    proved = [(said[name], decision.evidence[name]) for name in EVIDENCE if name in decision.evidence]
    return [
        paragraph(said[decision.kind], TITLE),
        fields(_asked(decision, said, language)),
        *([paragraph(said["evidence"], HEADING), fields(proved)] if proved else []),
        paragraph(said["decision"], HEADING),
        fields(_decided(decision, said)),
        space(2),
        KeepTogether(
            [paragraph(said["systems"], SMALL), by_hand((said["signature"], said["name"], said["signed_on"]))]
        ),
    ]


def _asked(decision: CaseDecision, said: dict[str, str], language: Language) -> list[tuple[str, str]]:
    rows = {
        "case": str(decision.case),
        "holder": decision.holder or "",
        "serial": decision.serial,
        "channel": words(CHANNELS, language)[decision.channel],
        "ground": words(GROUNDS, language)[decision.ground],
        "office": decision.office or "",
        "received_at": _moment(decision.received_at),
        "due_at": _moment(decision.due_at),
        "entered_by": decision.entered_by,
    }
    if decision.lifts is not None:
        rows["lifts"] = str(decision.lifts)
    return [(said[name], value) for name, value in rows.items()]


def _decided(decision: CaseDecision, said: dict[str, str]) -> list[tuple[str, str]]:
    rows = {
        "decision": said["granted"] if decision.granted else said["refused"],
        "why": decision.why,
        "decided_at": _moment(decision.decided_at),
        "decided_by": decision.decided_by,
    }
    return [(said[name], value) for name, value in rows.items()]


def _moment(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")
