"""What may follow what in a transaction: a pure table of states and kinds of message (RFC 9810 §5.1.1, §5.3).

Nothing here reads a clock or a store.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from pkiserver.errors import PKIServerError, RefusedError
from pkiserver.ra.cmp.errors import CertConfirmedError, TransactionIDInUseError
from protocols.cmp.bodies import BodyType


class State(Enum):
    """How a transaction stands; all but NEW are stored."""

    NEW = "new"
    WAITING = "waiting"  # for approval: pollReq asks again
    CHALLENGED = "challenged"  # a key for encryption: popdecr proves it
    UNCONFIRMED = "unconfirmed"  # certificates were issued, certConf is missing
    CONFIRMED = "confirmed"
    REFUSED = "refused"  # the certificates by certConf, or by the time that it took
    ENDED = "ended"  # without certConf: implicitly confirmed, or it was no request for certificates


class Kind(Enum):
    """What a message is for."""

    CERTIFICATION = "certification"
    CROSS_CERTIFICATION = "cross-certification"
    REVOCATION = "revocation"
    QUERY = "query"
    CONFIRMATION = "confirmation"
    POLL = "poll"
    ABORTION = "abortion"
    NESTED = "nested"
    CHALLENGE_RESPONSE = "challenge response"
    OTHER = "other"  # answers, which a server asks for nowhere, announcements, key recovery


class Step(Enum):
    """What is done with a message."""

    CERTIFY = "certify"
    CROSS_CERTIFY = "cross-certify"
    CHANGE_STATUS = "change status"
    ANSWER = "answer"
    CONFIRM = "confirm"
    CONFIRM_AGAIN = "confirm again"
    POLL = "poll"
    ABORT = "abort"
    OPEN_NESTED = "open nested"
    TAKE_CHALLENGE_RESPONSE = "take challenge response"


KINDS: Final[Mapping[BodyType, Kind]] = {
    **dict.fromkeys(BodyType, Kind.OTHER),
    **dict.fromkeys((BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.KUR), Kind.CERTIFICATION),
    BodyType.CCR: Kind.CROSS_CERTIFICATION,
    BodyType.RR: Kind.REVOCATION,
    BodyType.GENM: Kind.QUERY,
    BodyType.CERT_CONF: Kind.CONFIRMATION,
    BodyType.POLL_REQ: Kind.POLL,
    BodyType.ERROR: Kind.ABORTION,
    BodyType.NESTED: Kind.NESTED,
    BodyType.POPDECR: Kind.CHALLENGE_RESPONSE,
}
# What begins a transaction, with the same step whatever it is that begins.
_FIRST: Final[Mapping[Kind, Step]] = {
    Kind.CERTIFICATION: Step.CERTIFY,
    Kind.CROSS_CERTIFICATION: Step.CROSS_CERTIFY,
    Kind.REVOCATION: Step.CHANGE_STATUS,
    Kind.QUERY: Step.ANSWER,
    Kind.NESTED: Step.OPEN_NESTED,
}
_Refusal = type[PKIServerError]
_IN_USE: Final = (TransactionIDInUseError, "the transactionID is that of another transaction of yours")
_NOT_EXPECTED: Final = (RefusedError, "no message of this kind is expected in this transaction")
_NO_TRANSACTION: Final = (RefusedError, "there is no transaction of this transactionID and sender")
_SETTLED: Final = (CertConfirmedError, "the certificate was confirmed or refused before")

Row = Mapping[Kind, Step | tuple[_Refusal, str]]


def _row(first: tuple[_Refusal, str] | None, **steps: Step | tuple[_Refusal, str]) -> Row:
    """Return a row: `first` refuses what begins a transaction, None lets it; others by name."""
    others = _NO_TRANSACTION if first is None else _NOT_EXPECTED
    row: dict[Kind, Step | tuple[_Refusal, str]] = dict.fromkeys(Kind, others)
    row |= dict(_FIRST) if first is None else dict.fromkeys(_FIRST, first)
    row[Kind.OTHER] = (RefusedError, "a message of this kind is not answered here")
    return row | {Kind[name]: step for name, step in steps.items()}


TRANSITIONS: Final[Mapping[State, Row]] = {
    State.NEW: _row(None),
    State.WAITING: _row(_IN_USE, POLL=Step.POLL, ABORTION=Step.ABORT),
    # Who missed the answer to its last poll polls again.
    State.CHALLENGED: _row(_IN_USE, CHALLENGE_RESPONSE=Step.TAKE_CHALLENGE_RESPONSE, ABORTION=Step.ABORT),
    State.UNCONFIRMED: _row(_IN_USE, CONFIRMATION=Step.CONFIRM, ABORTION=Step.ABORT, POLL=Step.POLL),
    State.CONFIRMED: _row(_IN_USE, CONFIRMATION=Step.CONFIRM_AGAIN),
    State.REFUSED: _row(_IN_USE, CONFIRMATION=Step.CONFIRM_AGAIN),
    State.ENDED: _row(_IN_USE, CONFIRMATION=_SETTLED, POLL=Step.POLL),
}


def step_of(state: State, body: BodyType) -> Step:
    """Return what is done with a message of this body; raises the refusal of the table."""
    found = TRANSITIONS[state][KINDS[body]]
    if isinstance(found, Step):
        return found
    refusal, reason = found
    raise refusal(reason)
