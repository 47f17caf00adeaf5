"""`protocols.asn1.ber`: BER becomes DER framing, DER stays as it is; asn1crypto is the second opinion."""

from pathlib import Path

import pytest
from asn1crypto import cms
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.asn1 import ber, der
from protocols.errors import MalformedError, ProtocolError, TooLargeError

VECTORS = Path(__file__).parent.parent / "vectors"
LIMIT = 65536

TABLE = {
    "x690_8_1_3_5_long_length": ("30810301 01ff", "3003 0101ff"),
    "x690_8_1_3_5_length_with_zeros": ("048400000001 61", "0401 61"),
    "x690_8_1_3_6_indefinite": ("3080 020105 0000", "3003 020105"),
    "x690_8_1_3_6_indefinite_inside": ("3080 3180 0500 0000 0101ff 0000", "3007 3102 0500 0101ff"),
    "x690_8_1_3_6_indefinite_in_definite": ("3006 3080 0500 0000", "3004 3002 0500"),
    "x690_8_7_3_segments": ("2406 0401 61 0401 62", "0402 6162"),
    "x690_8_7_3_segments_indefinite": ("2480 0401 61 2480 0401 62 0000 0000", "0402 6162"),
    "x690_8_7_3_no_segment": ("2480 0000", "0400"),
    "x690_8_14_explicit_tag": ("a080 0401 61 0000", "a003 0401 61"),
    "der": ("3005 0203 010001", "3005 0203 010001"),
    "empty_sequence": ("3080 0000", "3000"),
}


@pytest.mark.parametrize(("given_hex", "want"), TABLE.values(), ids=TABLE)
def test_framing(given_hex: str, want: str) -> None:
    assert ber.to_der(bytes.fromhex(given_hex), max_bytes=LIMIT) == bytes.fromhex(want)


MALFORMED = {
    "empty": "",
    "tag_alone": "30",
    "content_truncated": "0405 61",
    "x690_8_1_3_5_length_truncated": "0482 01",
    "x690_8_1_3_5_length_reserved": "04ff 61",
    "x690_8_1_3_6_primitive_indefinite": "0480 61 0000",
    "x690_8_1_5_end_missing": "3080 0500",
    "x690_8_1_5_half_an_end": "3080 0500 00",
    "x690_8_1_5_end_alone": "0000",
    "x690_8_1_5_end_in_definite": "3002 0000",
    "x690_8_1_2_4_multi_byte_tag": "1f8101 00",
    "x690_8_6_4_segmented_bit_string": "2304 0302 0061",
    "x690_8_23_segmented_utf8_string": "2c03 0401 61",
    "x690_8_7_3_2_segment_of_other_type": "2403 0201 01",
    "after_the_value": "0500 0500",
    "child_past_its_parent": "3003 0402 6161",
}


@pytest.mark.parametrize("given_hex", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_ber_is_refused(given_hex: str) -> None:
    with pytest.raises(MalformedError):
        ber.to_der(bytes.fromhex(given_hex), max_bytes=LIMIT)


def test_size_and_depth_are_bounded() -> None:
    deep = b"\x30\x80" * (der.MAX_DEPTH + 1) + b"\x00\x00" * (der.MAX_DEPTH + 1)

    assert ber.to_der(deep[2:-2], max_bytes=LIMIT).startswith(b"\x30")
    with pytest.raises(TooLargeError):
        ber.to_der(b"\x30\x80" + deep + b"\x00\x00", max_bytes=LIMIT)
    with pytest.raises(TooLargeError):
        ber.to_der(b"\x24\x80" * 20000, max_bytes=LIMIT)
    with pytest.raises(TooLargeError):
        ber.to_der(der.octet_string(bytes(4)), max_bytes=5)


WHOLE = [
    path
    for path in sorted(VECTORS.glob("*/*.der"))
    if not path.name.startswith("x690_") and "trailing" not in path.name and "truncated" not in path.name
]


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.name)
def test_der_stays_as_it_is(path: Path) -> None:
    encoded = path.read_bytes()

    assert ber.to_der(encoded, max_bytes=LIMIT) == encoded


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*/*.ber")), ids=lambda path: path.name)
def test_streams_of_openssl_are_what_asn1crypto_makes_of_them(path: Path) -> None:
    message = path.read_bytes()
    assert message[1] == 0x80
    independent = cms.ContentInfo.load(message)

    normal = cms.ContentInfo.load(ber.to_der(message, max_bytes=LIMIT), strict=True)

    assert normal.native == independent.native
    assert normal.dump(force=True) == independent.dump(force=True)


@st.composite
def values(draw: st.DrawFn, depth: int = 0) -> tuple[bytes, bytes]:
    """Return a value in some BER, and in DER."""
    if depth == 4 or draw(st.booleans()):
        content = draw(st.binary(max_size=140))
        octets = draw(st.integers(1, 4))
        tag = draw(st.sampled_from([der.INTEGER, der.OCTET_STRING, 0x80]))
        long = bytes([tag, 0x80 | octets]) + len(content).to_bytes(octets + 1, "big")[-octets:] + content
        fits = len(content) < 1 << (8 * octets)
        return (long if fits else der.encode(tag, content)), der.encode(tag, content)
    if draw(st.booleans()):
        segments = draw(st.lists(st.binary(max_size=20), max_size=4))
        body = b"".join(map(der.octet_string, segments))
        return b"\x24\x80" + body + b"\x00\x00", der.octet_string(b"".join(segments))
    children = draw(st.lists(values(depth + 1), max_size=3))
    tag = draw(st.sampled_from([der.SEQUENCE, der.SET, 0xA0]))
    inner = b"".join(child for child, _ in children)
    strict = der.encode(tag, b"".join(child for _, child in children))
    return (
        bytes([tag, 0x80]) + inner + b"\x00\x00" if draw(st.booleans()) else der.encode(tag, inner)
    ), strict


@settings(deadline=None)
@given(values())
def test_any_ber_becomes_der_and_stays_so(value: tuple[bytes, bytes]) -> None:
    given_ber, want = value

    assert ber.to_der(given_ber, max_bytes=LIMIT) == want
    assert ber.to_der(want, max_bytes=LIMIT) == want


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 1500), st.integers(0, 3))
def test_any_octets_raise_only_protocol_errors(octets: bytes, at: int, cut: int) -> None:
    stream = (VECTORS / "cms" / "openssl_p256_stream.ber").read_bytes()
    for message in (octets, stream[:at] + octets[:4] + stream[at + cut :]):
        try:
            encoded = ber.to_der(message, max_bytes=LIMIT)
        except ProtocolError:
            continue
        assert ber.to_der(encoded, max_bytes=LIMIT) == encoded
