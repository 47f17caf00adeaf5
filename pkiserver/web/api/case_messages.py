"""What the API takes and shows of cases: what is asked, proposed, entered and decided."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.ra.cases.entry import MAX_EVIDENCE_CHARACTERS
from pkiserver.web.api.offices import OfficeCode
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Limit,
    Message,
    Number,
    Parameters,
)

_CURSOR: Final = r"^[0-9]{1,11}-[0-9]{1,18}$"
KindName = Literal["suspend", "restore", "revoke", "unblock"]
ChannelName = Literal["written", "self_service", "authority", "civil_registry", "organization"]
# What the holder or the organisation asks; what is against the holder's will has an operation of its own.
AskedGround = Literal[
    "holder_request",
    "carrier_missing",
    "carrier_found",
    "carrier_blocked",
    "carrier_exchanged",
    "key_compromised",
    "cause_gone",
    "death",
    "citizenship_lost",
    "name_changed",
    "position_changed",
    "officer_left",
    "contract_ended",
]
Line = Annotated[str, Field(min_length=1, max_length=MAX_EVIDENCE_CHARACTERS)]


class CasePath(Parameters):
    """A case by its number."""

    case: Number


class CaseSearch(Parameters):
    """Which open cases; without an office those that the caller may see."""

    office: OfficeCode | None = None
    overdue: Annotated[bool, Field(description="Only those whose time is over.")] = False
    limit: Limit = DEFAULT_LIMIT
    after: (
        Annotated[str, Field(pattern=_CURSOR, description="Where to go on: `next` of the page before.")]
        | None
    ) = None


class CaseRequest(Message):
    """What is asked. `office` received it in writing; `letter` is the number of that, or of an official one.

    `lifts`: the case of the organisation's hold that is to end. `channel` follows from the caller's role.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "suspend", "ground": "carrier_missing", "office": "ub-1", "letter": "2026/17"}
            ]
        }
    )

    kind: KindName
    ground: AskedGround
    office: OfficeCode | None = None
    letter: Line | None = None
    lifts: Number | None = None
    channel: Literal["written", "self_service", "organization"] | None = None


class RevocationProposal(Message):
    """Why a certificate is to be revoked against its holder's will; a second person decides."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ground": "forged_documents", "office": "ub-1", "letter": "2026/18"}]
        }
    )

    ground: Literal["forged_documents", "duties_breached"]
    office: OfficeCode
    letter: Line | None = None


class AuthorityDecision(Message):
    """A competent authority's decision: who decided, its number and date, and the document (regulation 3.3).

    `lifts`: the case of the decision whose hold is to end (3.5).
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "suspend",
                    "ground": "authority_decision",
                    "body": "Prosecutor's office",
                    "number": "17",
                    "date": "2026-07-08",
                    "document": "scan-88",
                }
            ]
        }
    )

    kind: Literal["suspend", "restore", "revoke"]
    ground: Literal["authority_decision", "cause_gone"]
    body: Line
    number: Line
    date: Line
    document: Line
    office: OfficeCode | None = None
    lifts: Number | None = None


class CaseDecision(Message):
    """What is decided, and why in one line, without personal data."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"granted": True, "ground": "signature compared"}]}
    )

    granted: bool
    ground: Line


class Evidence(Message):
    """What a case rests on."""

    body: str | None = None
    number: str | None = None
    date: str | None = None
    document: str | None = None
    letter: str | None = None
    message: str | None = None


class Case(Message):
    """A case; what is said of its decision is null while it is open."""

    case: int
    kind: KindName
    channel: ChannelName
    ground: str
    state: Literal["received", "granted", "refused"]
    version: int
    ca: str
    serial: str
    office: str | None
    person: int | None
    lifts: int | None
    evidence: Evidence
    received_at: datetime
    due_at: datetime
    entered_by: str
    decided_at: datetime | None
    decided_by: str | None
    decision: str | None


class CaseList(Message):
    """Cases; of open ones the most urgent first. `next` leads to the page behind, null where none is."""

    items: tuple[Case, ...]
    next: str | None
