"""The Client-Cert field (RFC 9440 §2.2)."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.est.client_cert import MAX_CLIENT_CERT_CHARACTERS, parse_client_cert

CERTIFICATE = b"\x30\x03\x02\x01\x07"
FIELD = f":{base64.b64encode(CERTIFICATE).decode()}:"


def test_rfc9440_2_2_one_byte_sequence() -> None:
    assert parse_client_cert([FIELD]) == CERTIFICATE
    assert parse_client_cert([f" {FIELD} "]) == CERTIFICATE


@pytest.mark.parametrize(
    "values",
    [
        [],
        [FIELD, FIELD],
        [f"{FIELD}, {FIELD}"],
        [f"{FIELD};a=1"],
        [""],
        [":"],
        ["::"],
        [FIELD.strip(":")],
        [":MAMCAQ:"],  # no padding
        [":MAMC AQc=:"],
        [":MAMCAQ-_:"],
        [":é:"],
        [f":{base64.b64encode(CERTIFICATE + b'0').decode()}:"],
        [f":{base64.b64encode(CERTIFICATE * 2).decode()}:"],
        [f":{base64.b64encode(CERTIFICATE[:-1]).decode()}:"],
        ["-----BEGIN CERTIFICATE-----"],
    ],
)
def test_other_values_are_refused(values: list[str]) -> None:
    with pytest.raises(MalformedError):
        parse_client_cert(values)


def test_a_long_value_is_refused() -> None:
    with pytest.raises(TooLargeError):
        parse_client_cert([":" + "A" * MAX_CLIENT_CERT_CHARACTERS + ":"])


@given(st.lists(st.text(max_size=80), max_size=2) | st.text(max_size=80).map(lambda text: [f":{text}:"]))
def test_only_our_own_errors_escape(values: list[str]) -> None:
    with contextlib.suppress(ProtocolError):
        parse_client_cert(values)
