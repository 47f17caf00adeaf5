"""Every state of a transaction with every kind of message: one table, written down a second time."""

import pytest

from pkiserver.errors import PKIServerError
from pkiserver.ra.cmp.transactions import KINDS, TRANSITIONS, Kind, State, Step, step_of
from protocols.cmp.bodies import BodyType
from protocols.errors import ErrorKind

REQUESTS = (BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.KUR)
FIRST = {
    **dict.fromkeys(REQUESTS, Step.CERTIFY),
    BodyType.CCR: Step.CROSS_CERTIFY,
    BodyType.RR: Step.CHANGE_STATUS,
    BodyType.GENM: Step.ANSWER,
    BodyType.NESTED: Step.OPEN_NESTED,
}
LATER = {
    (State.WAITING, BodyType.POLL_REQ): Step.POLL,
    (State.WAITING, BodyType.ERROR): Step.ABORT,
    (State.CHALLENGED, BodyType.POPDECR): Step.TAKE_CHALLENGE_RESPONSE,
    (State.CHALLENGED, BodyType.ERROR): Step.ABORT,
    (State.UNCONFIRMED, BodyType.CERT_CONF): Step.CONFIRM,
    (State.UNCONFIRMED, BodyType.POLL_REQ): Step.POLL,
    (State.UNCONFIRMED, BodyType.ERROR): Step.ABORT,
    (State.CONFIRMED, BodyType.CERT_CONF): Step.CONFIRM_AGAIN,
    (State.REFUSED, BodyType.CERT_CONF): Step.CONFIRM_AGAIN,
    (State.ENDED, BodyType.POLL_REQ): Step.POLL,
}
REFUSED = {
    **{(state, body): ErrorKind.TRANSACTION_ID_IN_USE for state in State for body in FIRST},
    (State.ENDED, BodyType.CERT_CONF): ErrorKind.CERT_CONFIRMED,
}
CASES = [(state, body) for state in State for body in BodyType]


@pytest.mark.parametrize(("state", "body"), CASES, ids=lambda value: value.name)
def test_every_pair(state: State, body: BodyType) -> None:
    want = FIRST.get(body) if state is State.NEW else LATER.get((state, body))
    if want is not None:
        assert step_of(state, body) is want
        return
    with pytest.raises(PKIServerError) as raised:
        step_of(state, body)
    assert raised.value.kind is REFUSED.get((state, body), ErrorKind.BAD_REQUEST)


def test_the_table_is_total() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(set(row) == set(Kind) for row in TRANSITIONS.values())
    assert set(KINDS) == set(BodyType)
