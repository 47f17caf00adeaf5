"""The walk that finds what is not DER, type by type."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.ca.lint_der import der_faults
from protocols.asn1 import der
from protocols.errors import ProtocolError

RIGHT = (
    "0101ff 010100 020100 02017f 02020080 020180 0202ff7f 03020780 030100 0400 0500 06032a0304 06022a00",
    "0a0101 0c04d091d0b8 1303412d62 1603614062 170d3236303530313038303030305a",
    "180f32303536303530313038303030305a 3003020101 3103020101 3106020101020102 a003020101 8001ff 8600",
)
WRONG = {
    "BOOLEAN": "010101 0100 0102ffff",
    "INTEGER": "0200 02020001 0202ff80 0203000080",
    "BIT STRING": "0300 030108 030101 03020801 03020101",
    "NULL": "050100",
    "OBJECT IDENTIFIER": "0600 060180 06032a8001 06022a81",
    "ENUMERATED": "0a020001",
    "UTF8String": "0c01ff 0c02d0d0",
    "PrintableString": "130140 13015f",
    "IA5String": "160180",
    "UTCTime": "170b323630353031303830305a 17113236303530313038303030302b30383030",
    "GeneralizedTime": "180d3230353630353031303830305a",
    "a SET OF is not in order": "3106020102020101",
    "unexpected tag 0x14": "140141",
    "unexpected tag 0x24": "2403040141",
    "unexpected tag 0x41": "410141",
}


def encodings(text: str) -> list[bytes]:
    return [bytes.fromhex(part) for part in text.split()]


RIGHT_ONES = [one for text in RIGHT for one in encodings(text)]
WRONG_ONES = [(words, one) for words, text in WRONG.items() for one in encodings(text)]


@pytest.mark.parametrize("encoding", RIGHT_ONES, ids=bytes.hex)
def test_der_has_no_fault(encoding: bytes) -> None:
    assert list(der_faults(encoding)) == []
    assert list(der_faults(der.sequence(encoding, der.explicit(0, encoding)))) == []


@pytest.mark.parametrize(("words", "encoding"), WRONG_ONES, ids=str)
def test_what_is_not_der_is_one_fault_at_any_depth(words: str, encoding: bytes) -> None:
    for wrapped in (encoding, der.sequence(encoding), der.explicit(3, der.sequence(der.null(), encoding))):
        [fault] = der_faults(wrapped)
        assert words in fault


@pytest.mark.parametrize("encoding", encodings("30 3003 300301 308000 0281 1f8101 0281020101"), ids=bytes.hex)
def test_broken_framing_raises(encoding: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(der_faults(encoding))


def test_depth_is_bounded() -> None:
    nested = der.null()
    for _ in range(der.MAX_DEPTH + 2):
        nested = der.sequence(nested)
    with pytest.raises(ProtocolError, match="deeply"):
        list(der_faults(nested))


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_only_our_errors_escape(noise: bytes) -> None:
    try:
        faults = list(der_faults(noise))
    except ProtocolError:
        return
    assert all(isinstance(fault, str) for fault in faults)
