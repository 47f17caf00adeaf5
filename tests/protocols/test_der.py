"""`protocols.asn1.der`, both ways, and against asn1crypto as a second opinion."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from asn1crypto import core, parser
from hypothesis import given
from hypothesis import strategies as st

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.errors import MalformedError, ProtocolError, TooLargeError

OIDS = st.tuples(
    st.one_of(st.tuples(st.integers(0, 1), st.integers(0, 39)), st.tuples(st.just(2), st.integers(0, 2**64))),
    st.lists(st.integers(0, 2**64), max_size=8),
).map(lambda parts: ".".join(map(str, (*parts[0], *parts[1]))))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS = st.integers(-62_000_000_000, 253_000_000_000)  # the years 5 to 9987
MOMENTS = SECONDS.map(lambda seconds: EPOCH + timedelta(seconds=seconds))


# ---- one table, both ways

INTEGERS = [
    (0, "020100"),
    (1, "020101"),
    (127, "02017f"),
    (128, "02020080"),
    (255, "020200ff"),
    (256, "02020100"),
    (32767, "02027fff"),
    (32768, "0203008000"),
    (-1, "0201ff"),
    (-128, "020180"),
    (-129, "0202ff7f"),
    (2**126, "0210" + "40" + "00" * 15),
]
OID_TABLE = [
    ("0.0", "060100"),
    ("0.39", "060127"),
    ("1.0", "060128"),
    ("1.2.840.113549", "06062a864886f70d"),
    ("2.5.29.15", "0603551d0f"),
    ("2.40", "060178"),
    ("2.47", "06017f"),
    ("2.48", "06028100"),
    ("2.999.3", "0603883703"),
    ("2.16.840.1.101.3.4.2.1", "0609608648016503040201"),
]
TIMES = [
    (datetime(2026, 11, 21, 22, 5, 9, tzinfo=UTC), "180f" + b"20261121220509Z".hex()),
    (datetime(1, 1, 1, tzinfo=UTC), "180f" + b"00010101000000Z".hex()),
    (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "180f" + b"99991231235959Z".hex()),
    (datetime(2024, 2, 29, tzinfo=UTC), "180f" + b"20240229000000Z".hex()),
]


@pytest.mark.parametrize(("value", "encoded"), INTEGERS)
def test_integer(value: int, encoded: str) -> None:
    assert der.integer(value).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).integer() == value


@pytest.mark.parametrize(("value", "encoded"), OID_TABLE)
def test_oid(value: str, encoded: str) -> None:
    assert der.oid(value).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).oid() == value


@pytest.mark.parametrize(("value", "encoded"), TIMES)
def test_generalized_time(value: datetime, encoded: str) -> None:
    assert der.generalized_time(value).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).generalized_time() == value


def test_generalized_time_is_written_in_utc_and_whole_seconds() -> None:
    moment = datetime(2026, 1, 1, 7, 30, 0, 999999, tzinfo=timezone(timedelta(hours=8)))
    assert der.generalized_time(moment) == der.encode(der.GENERALIZED_TIME, b"20251231233000Z")


def test_simple_values_both_ways() -> None:
    assert der.boolean(True) == bytes.fromhex("0101ff")
    assert der.boolean(False) == bytes.fromhex("010100")
    assert Reader(der.boolean(True)).boolean() is True
    assert Reader(der.boolean(False)).boolean() is False
    Reader(der.null()).null()
    assert Reader(der.octet_string(b"ab")).octet_string() == b"ab"
    assert der.bit_string(b"ab") == bytes.fromhex("0303006162")
    assert Reader(der.bit_string(b"ab")).bit_string() == b"ab"
    assert der.enumerated(6) == bytes.fromhex("0a0106")
    assert Reader(der.enumerated(6)).integer(der.ENUMERATED) == 6
    assert der.utf8_string("Бат") == bytes.fromhex("0c06") + "Бат".encode()
    assert der.explicit(3, der.null()) == bytes.fromhex("a3020500")
    assert der.context(2, constructed=False) == 0x82


@pytest.mark.parametrize(
    ("year", "tag"), [(1949, 0x18), (1950, 0x17), (2049, 0x17), (2050, 0x18)], ids=lambda value: str(value)
)
def test_time_is_utctime_from_1950_through_2049(year: int, tag: int) -> None:
    encoded = der.time(datetime(year, 1, 1, tzinfo=UTC))
    assert encoded[0] == tag
    assert encoded[2:].decode() == f"{year:04}"[2 if tag == 0x17 else 0 :] + "0101000000Z"


def test_set_of_is_sorted() -> None:
    parts = [der.octet_string(b"b"), der.octet_string(b"a"), der.null(), der.octet_string(b"aa")]
    assert der.set_of(parts) == bytes.fromhex("310c" + "040161" + "040162" + "04026161" + "0500")


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths(length: int) -> None:
    encoded = der.octet_string(bytes(length))
    assert Reader(encoded).octet_string() == bytes(length)
    assert core.OctetString.load(encoded, strict=True).native == bytes(length)


# ---- what is not DER


@pytest.mark.parametrize(
    ("encoded", "read"),
    [
        pytest.param("", Reader.read_any, id="nothing"),
        pytest.param("04", Reader.octet_string, id="no length"),
        pytest.param("0402ff", Reader.octet_string, id="content cut"),
        pytest.param("0480ff0000", Reader.octet_string, id="8.1.3.6 indefinite length"),
        pytest.param("048101ff", Reader.octet_string, id="10.1 long form of a short length"),
        pytest.param("04820080" + "00" * 128, Reader.octet_string, id="10.1 length with a leading zero"),
        pytest.param("0482ff", Reader.octet_string, id="length cut"),
        pytest.param("0485" + "0100000000", Reader.octet_string, id="length of five octets"),
        pytest.param("04ff", Reader.octet_string, id="8.1.3.5 reserved length"),
        pytest.param("2403040161", Reader.octet_string, id="10.2 constructed string"),
        pytest.param("1f8101", Reader.read_any, id="multi-byte tag"),
        pytest.param("0101" + "01", Reader.boolean, id="11.1 true that is not FF"),
        pytest.param("0100", Reader.boolean, id="boolean without content"),
        pytest.param("0102ffff", Reader.boolean, id="boolean of two octets"),
        pytest.param("0200", Reader.integer, id="8.3.1 integer without content"),
        pytest.param("02020001", Reader.integer, id="8.3.2 integer with a leading zero"),
        pytest.param("0202ff80", Reader.integer, id="8.3.2 integer with a leading FF"),
        pytest.param("050100", Reader.null, id="8.8.2 null with content"),
        pytest.param("0600", Reader.oid, id="oid without content"),
        pytest.param("060288", Reader.oid, id="oid content cut"),
        pytest.param("060188", Reader.oid, id="8.19.2 oid ends inside an arc"),
        pytest.param("0603558001", Reader.oid, id="8.19.2 oid arc with a leading zero"),
        pytest.param("0300", Reader.bit_string, id="8.6.2.3 bit string without content"),
        pytest.param("03020780", Reader.bit_string, id="bit string of one bit"),
        pytest.param("180d" + b"202611212205Z".hex(), Reader.generalized_time, id="time without seconds"),
        pytest.param("1811" + b"20261121220509.5Z".hex(), Reader.generalized_time, id="fraction of a second"),
        pytest.param(
            "1813" + b"20261121220509+0800".hex(), Reader.generalized_time, id="time with an offset"
        ),
        pytest.param("180f" + b"20260229000000Z".hex(), Reader.generalized_time, id="29 February 2026"),
        pytest.param("180f" + b"20261121220560Z".hex(), Reader.generalized_time, id="second 60"),
        pytest.param("180f" + b"00001121220500Z".hex(), Reader.generalized_time, id="year 0"),
        pytest.param("180f" + b" 0261121220500Z".hex(), Reader.generalized_time, id="time with a space"),
        pytest.param("0500", Reader.octet_string, id="another tag"),
    ],
)
def test_not_der(encoded: str, read: object) -> None:
    assert callable(read)
    with pytest.raises(MalformedError):
        read(Reader(bytes.fromhex(encoded)))


def test_oid_arc_of_more_than_128_bits_is_too_large() -> None:
    with pytest.raises(TooLargeError):
        Reader(bytes.fromhex("0616" + "2a" + "ff" * 20 + "7f")).oid()


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.", ".1", "3.1", "1.40", "0.40", "-1.5", "1.-2", "1.2.-3", "1_0.2", " 1.2", "1.2\n", "1.02"],
)
def test_text_that_is_no_oid(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - text comes from our own tables; the message is not a contract
        der.oid(text)


# ---- the reader's walk


def test_walk() -> None:
    reader = Reader(der.sequence(der.integer(1), der.sequence(der.null()), der.octet_string(b"x")))
    fields = reader.enter()
    assert fields.peek() == der.INTEGER
    assert fields.integer() == 1
    assert fields.read_raw(der.SEQUENCE) == der.sequence(der.null())
    with pytest.raises(MalformedError):
        fields.finish()
    assert fields.read_any() == (der.OCTET_STRING, der.octet_string(b"x"))
    assert fields.at_end
    assert fields.peek() is None
    fields.finish()
    reader.finish()


EXPLICIT = der.explicit(4, der.octet_string(b"id"))


def test_explicit() -> None:
    reader = Reader(EXPLICIT + der.null())

    assert reader.read_explicit(4, der.OCTET_STRING) == b"id"
    reader.null()
    reader.finish()
    assert Reader(der.explicit(0, der.octet_string(b""))).read_explicit(0, der.OCTET_STRING) == b""


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        der.explicit(5, der.octet_string(b"id")),
        der.explicit(4, der.integer(1)),
        der.explicit(4, der.octet_string(b"id") * 2),
        der.explicit(4, b"") + der.octet_string(b"id"),
        bytes.fromhex("a40304026964"),
        EXPLICIT[:-1],
        b"\x84" + EXPLICIT[1:],
    ],
)
def test_explicit_holds_exactly_one_value(encoded: bytes) -> None:
    with pytest.raises(MalformedError):
        Reader(encoded).read_explicit(4, der.OCTET_STRING)


def test_a_value_does_not_reach_past_its_parent() -> None:
    fields = Reader(bytes.fromhex("3003" + "040261" + "62")).enter()
    with pytest.raises(MalformedError):
        fields.octet_string()


def test_depth_is_bounded() -> None:
    encoded = der.null()
    for _ in range(der.MAX_DEPTH + 1):
        encoded = der.sequence(encoded)
    readers = [Reader(encoded)]
    readers.extend(readers[-1].enter() for _ in range(der.MAX_DEPTH))
    with pytest.raises(TooLargeError):
        readers[-1].enter()


# ---- properties


@given(st.integers(-(2**200), 2**200))
def test_integers_agree(value: int) -> None:
    encoded = der.integer(value)
    assert encoded == core.Integer(value).dump()
    assert Reader(encoded).integer() == value


@given(OIDS)
def test_oids_agree(value: str) -> None:
    encoded = der.oid(value)
    assert core.ObjectIdentifier.load(encoded, strict=True).dotted == value
    assert Reader(encoded).oid() == value


@given(MOMENTS)
def test_times_agree(value: datetime) -> None:
    encoded = der.generalized_time(value)
    assert core.GeneralizedTime.load(encoded, strict=True).native == value
    assert Reader(encoded).generalized_time() == value


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_sequences_agree(contents: list[bytes]) -> None:
    encoded = der.sequence(*map(der.octet_string, contents))
    assert core.SequenceOf.load(encoded, strict=True, spec=core.OctetString).native == contents
    fields = Reader(encoded).enter()
    assert [fields.octet_string() for _ in contents] == contents
    fields.finish()


READS = [
    Reader.boolean,
    Reader.integer,
    Reader.oid,
    Reader.null,
    Reader.octet_string,
    Reader.bit_string,
    Reader.generalized_time,
    Reader.read_any,
]


@given(st.binary(max_size=40), st.sampled_from([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x18, 0x30]))
def test_only_our_errors_escape(content: bytes, tag: int) -> None:
    for encoded in (content, der.encode(tag, content)):
        for read in READS:
            try:
                read(Reader(encoded))  # type: ignore[operator]  # mypy joins the methods to object
            except ProtocolError:
                continue


@given(st.binary(min_size=1, max_size=12))
def test_integers_are_read_as_their_only_encoding(content: bytes) -> None:
    encoded = der.encode(der.INTEGER, content)
    try:
        value = Reader(encoded).integer()
    except MalformedError:
        value = int.from_bytes(content, "big", signed=True)
        assert der.integer(value) != encoded
    else:
        assert der.integer(value) == encoded


@given(st.binary(min_size=1, max_size=24))
def test_oids_are_read_as_their_only_encoding(content: bytes) -> None:
    encoded = der.encode(der.OID, content)
    try:
        value = Reader(encoded).oid()
    except ProtocolError:
        return
    assert der.oid(value) == encoded


@given(st.binary(max_size=30))
def test_values_are_cut_where_a_second_decoder_cuts_them(encoded: bytes) -> None:
    try:
        _, value = Reader(encoded).read_any()
    except ProtocolError:
        return
    assert value == encoded[: parser.peek(encoded)]
