"""`pkiserver.web.wire`: the table is total and what it says is safe."""

from datetime import timedelta
from http import HTTPStatus
from typing import TypeVar

import pytest

from pkiserver import errors
from pkiserver.web.wire import MAX_REASON_CHARACTERS, WIRE, kind_of, reason_of, retry_after_of
from protocols.errors import BadPOPError, ErrorKind, ProtocolError, TooLargeError

Error = TypeVar("Error", bound=Exception)


def _all_subclasses(base: type[Error]) -> list[type[Error]]:
    return [base, *(found for child in base.__subclasses__() for found in _all_subclasses(child))]


def test_every_kind_has_a_wire_code() -> None:
    assert set(WIRE) == set(ErrorKind)


def test_every_kind_but_waiting_is_a_failure_in_cmc() -> None:
    """RFC 5272 §6.1.1: a reason stands with the status failed, and pending is none."""
    assert {kind for kind, wire in WIRE.items() if wire.cmc is None} == {ErrorKind.PENDING}


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_code_is_an_error_or_202_and_which_ask_to_retry(kind: ErrorKind) -> None:
    wire = WIRE[kind]
    assert wire.http >= HTTPStatus.BAD_REQUEST or kind is ErrorKind.PENDING
    assert (wire.retry_after_s is not None) == (wire.http is HTTPStatus.SERVICE_UNAVAILABLE)


def test_rfc7030_4_2_3_who_waits_is_told_when_to_come_again() -> None:
    assert retry_after_of(errors.PendingError("enrolment 7 waits", timedelta(minutes=10))) == 600
    assert retry_after_of(errors.UnavailableError("the disk is full")) == 5
    assert retry_after_of(errors.RefusedError("no")) is None


@pytest.mark.parametrize("error", [*_all_subclasses(ProtocolError), *_all_subclasses(errors.PKIServerError)])
def test_every_error_class_finds_its_row(error: type[ProtocolError | errors.PKIServerError]) -> None:
    assert error.kind in WIRE


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (BadPOPError("the signature does not verify"), 400, "the signature does not verify"),
        (TooLargeError("over 10 bytes"), 413, "over 10 bytes"),
        (errors.NotAuthenticatedError("wrong secret of reference 7"), 401, ""),
        (errors.UnavailableError("the disk is full"), 503, "the disk is full"),
        (errors.PKIServerError("row 5 of table x"), 500, "internal error"),
        (ZeroDivisionError("division by zero in /srv/app.py"), 500, "internal error"),
        (errors.RefusedError("CN=\x1b[31m\r\nX"), 400, "CN=\\x1b[31m\\x0d\\x0aX"),
    ],
)
def test_status_and_reason(error: Exception, status: int, reason: str) -> None:
    assert (WIRE[kind_of(error)].http, reason_of(error)) == (status, reason)


def test_reasons_are_bounded() -> None:
    assert len(reason_of(errors.RefusedError("x" * 10_000))) == MAX_REASON_CHARACTERS + 1
