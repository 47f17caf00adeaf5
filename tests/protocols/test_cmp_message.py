"""PKIMessage and PKIHeader (RFC 9810 §5.1): both ways, what of a broken one is told, and mutation."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc9810

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.general_info import read_general_info
from protocols.cmp.general_name import NULL_DN, general_name
from protocols.cmp.header import PartialHeader, PKIHeader, read_partial_header
from protocols.cmp.info_type import MAX_INFOS, InfoTypeAndValue
from protocols.cmp.message import (
    MAX_EXTRA_CERTS,
    MAX_NESTED,
    MalformedMessageError,
    PKIMessage,
    build_pki_message,
    finish_message,
    parse_nested,
    parse_pki_message,
    protected_part,
    protected_part_of,
)
from protocols.cmp.protection import read_protection
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from tests.protocols.test_cmp_bodies import CERT, NAME
from tests.protocols.test_cmp_vectors import CODECS, MESSAGES, vector

NOW = datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC)
SENDER = general_name(NAME)
DNS = der.encode(der.context(2, constructed=False), b"ra.example")
ALGORITHM = AlgorithmIdentifier(oid.ECDSA_WITH_SHA256)
EVERY_FIELD = PKIHeader(
    pvno=3,
    sender=SENDER,
    recipient=DNS,
    message_time=NOW,
    protection_alg=ALGORITHM,
    sender_kid=b"sender",
    recip_kid=b"recipient",
    transaction_id=bytes(range(16)),
    sender_nonce=bytes(range(16, 32)),
    recip_nonce=bytes(range(32, 48)),
    free_text=("монгол", "text"),
    general_info=(InfoTypeAndValue(oid.IT_IMPLICIT_CONFIRM, der.null()), InfoTypeAndValue("1.2.3")),
)
CONFIRM = PKIBody(BodyType.PKICONF, der.null())
WHOLE = build_pki_message(EVERY_FIELD, CONFIRM, b"protection", (CERT, CERT))


@pytest.mark.parametrize("header", [EVERY_FIELD, PKIHeader(), PKIHeader(pvno=-1, transaction_id=b"")])
@pytest.mark.parametrize(("protection", "certs"), [(None, ()), (b"", (CERT,)), (b"p", ())])
def test_both_ways(header: PKIHeader, protection: bytes | None, certs: tuple[bytes, ...]) -> None:
    encoded = build_pki_message(header, CONFIRM, protection, certs)
    message = parse_pki_message(encoded)

    assert (message.header, message.body) == (header, CONFIRM)
    assert (message.protection, message.extra_certs, message.der) == (protection, certs, encoded)
    independent, rest = decode(encoded, asn1Spec=rfc9810.PKIMessage())
    assert not rest
    assert encode(independent) == encoded


def test_names_of_a_header() -> None:
    assert EVERY_FIELD.sender_name == NAME
    assert EVERY_FIELD.recipient_name is None
    assert PKIHeader().sender_name == PKIHeader().recipient_name == der.sequence()


def test_rfc9810_5_1_3_what_is_protected_is_what_was_received() -> None:
    message = parse_pki_message(WHOLE)

    assert protected_part(message) == protected_part_of(EVERY_FIELD, CONFIRM)
    assert finish_message(protected_part(message), b"protection", (CERT, CERT)) == WHOLE
    assert message.header_der in WHOLE
    assert message.header_der + message.body_der in WHOLE


def test_a_message_shows_no_secret() -> None:
    assert b"protection".hex() not in repr(parse_pki_message(WHOLE))
    assert "b'protection'" not in repr(parse_pki_message(WHOLE))


# ---- what of a broken message is told

PARTIAL = PartialHeader(
    pvno=3,
    sender=SENDER,
    recipient=DNS,
    protection_alg=ALGORITHM,
    sender_kid=b"sender",
    transaction_id=bytes(range(16)),
    sender_nonce=bytes(range(16, 32)),
    recip_nonce=bytes(range(32, 48)),
)
HEADER = EVERY_FIELD.encode()
FIELDS = der.integer(3) + SENDER + DNS
ID = der.explicit(4, der.octet_string(b"id"))
NONCE = der.explicit(5, der.octet_string(b"nonce"))
BODY = CONFIRM.encode()
NAMED = PartialHeader(pvno=3, sender=SENDER, recipient=DNS)


def in_header(*fields: bytes) -> bytes:
    return der.sequence(der.sequence(FIELDS, *fields), BODY)


BROKEN: dict[str, tuple[bytes, PartialHeader | None]] = {
    "rfc9810_5_1_trailing": (WHOLE + der.null(), PARTIAL),
    "rfc9810_5_1_no_body": (der.sequence(HEADER), PARTIAL),
    "rfc9810_5_1_unknown_body": (der.sequence(HEADER, der.explicit(27, der.null())), PARTIAL),
    "rfc9810_5_1_body_of_two": (der.sequence(HEADER, der.explicit(19, der.null() * 2)), PARTIAL),
    "rfc9810_5_1_extra_certs_empty": (der.sequence(HEADER, BODY, der.explicit(1, der.sequence())), PARTIAL),
    "rfc9810_5_1_extra_certs_no_certificate": (
        der.sequence(HEADER, BODY, der.explicit(1, der.sequence(der.null()))),
        PARTIAL,
    ),
    "rfc9810_5_1_too_many_extra_certs": (
        build_pki_message(EVERY_FIELD, CONFIRM, None, [der.sequence()] * (MAX_EXTRA_CERTS + 1)),
        PARTIAL,
    ),
    "rfc9810_5_1_third_part": (der.sequence(HEADER, BODY, der.explicit(2, der.null())), PARTIAL),
    "rfc9810_5_1_parts_out_of_order": (
        der.sequence(
            HEADER, BODY, der.explicit(1, der.sequence(CERT)), der.explicit(0, der.bit_string(b"p"))
        ),
        PARTIAL,
    ),
    "rfc9810_5_1_3_protection_of_no_octets": (
        der.sequence(HEADER, BODY, der.explicit(0, bytes.fromhex("03020780"))),
        PARTIAL,
    ),
    "rfc9810_5_1_3_protection_of_two": (
        der.sequence(HEADER, BODY, der.explicit(0, der.bit_string(b"p") * 2)),
        PARTIAL,
    ),
    "rfc9810_5_1_1_unknown_field": (
        in_header(ID, der.explicit(9, der.null())),
        replace(NAMED, transaction_id=b"id"),
    ),
    "rfc9810_5_1_1_field_twice": (
        in_header(ID, der.explicit(4, der.octet_string(b"other"))),
        replace(NAMED, transaction_id=b"id"),
    ),
    "rfc9810_5_1_1_out_of_order": (
        in_header(NONCE, ID),
        replace(NAMED, transaction_id=b"id", sender_nonce=b"nonce"),
    ),
    "rfc9810_5_1_1_transaction_id_no_octets": (
        in_header(der.explicit(4, der.integer(1)), NONCE),
        replace(NAMED, sender_nonce=b"nonce"),
    ),
    "rfc9810_5_1_1_two_transaction_ids": (
        in_header(der.explicit(4, der.octet_string(b"id") * 2), NONCE),
        replace(NAMED, sender_nonce=b"nonce"),
    ),
    "rfc9810_5_1_1_empty_tag": (
        in_header(der.explicit(4, b""), NONCE),
        replace(NAMED, sender_nonce=b"nonce"),
    ),
    "rfc9810_5_2_9_message_time": (
        in_header(der.explicit(0, der.encode(der.GENERALIZED_TIME, b"20261122")), ID),
        replace(NAMED, transaction_id=b"id"),
    ),
    "rfc9810_5_1_1_free_text_empty": (
        in_header(ID, der.explicit(7, der.sequence())),
        replace(NAMED, transaction_id=b"id"),
    ),
    "rfc9810_5_1_1_general_info_empty": (
        in_header(ID, der.explicit(8, der.sequence())),
        replace(NAMED, transaction_id=b"id"),
    ),
    "own_too_much_general_info": (
        in_header(ID, der.explicit(8, der.sequence(*[der.sequence(der.oid("1.2.3"))] * (MAX_INFOS + 1)))),
        replace(NAMED, transaction_id=b"id"),
    ),
    "rfc9810_5_1_1_broken_field": (
        in_header(ID, bytes.fromhex("a580")),
        replace(NAMED, transaction_id=b"id"),
    ),
    "own_many_unknown_fields": (in_header(*[der.explicit(9, b"")] * 18, ID), NAMED),
    "rfc9810_5_1_1_a_few_unknown_fields": (
        in_header(*[der.explicit(9, b"")] * 17, ID),
        replace(NAMED, transaction_id=b"id"),
    ),
    "rfc9810_5_1_1_no_recipient": (
        der.sequence(der.sequence(der.integer(2), SENDER), BODY),
        PartialHeader(pvno=2, sender=SENDER),
    ),
    "rfc9810_5_1_1_sender_no_name": (
        der.sequence(der.sequence(der.integer(2), der.null(), DNS), BODY),
        PartialHeader(pvno=2),
    ),
    "rfc9811_3_1_empty": (b"", None),
    "rfc9811_3_1_text": (b"<html>", None),
    "rfc9811_3_1_truncated": (WHOLE[:-1], None),
    "rfc9811_3_1_no_sequence": (der.null(), None),
    "rfc9811_3_1_empty_sequence": (der.sequence(), None),
    "rfc9811_3_1_empty_header": (der.sequence(der.sequence(), BODY), None),
    "rfc9811_3_1_header_without_version": (der.sequence(der.sequence(SENDER, DNS), BODY), None),
    "rfc9811_3_1_a_certificate": (CERT, None),
    "x690_10_1_indefinite_length": (b"\x30\x80" + HEADER + BODY + b"\x00\x00", None),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_message_tells_its_header(rule: str) -> None:
    data, partial = BROKEN[rule]

    with pytest.raises(MalformedMessageError) as caught:
        parse_pki_message(data)
    assert caught.value.partial == partial
    assert str(caught.value)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_header_of_a_whole_message_is_told_too(name: str) -> None:
    header = parse_pki_message(vector(name)).header
    partial = read_partial_header(vector(name))

    assert partial is not None
    for field in PartialHeader.__slots__:
        assert getattr(partial, field) == getattr(header, field)


def test_depth_is_bounded() -> None:
    deep = der.null()
    for _ in range(200):
        deep = der.sequence(deep)
    message = parse_pki_message(build_pki_message(PKIHeader(), PKIBody(BodyType.GENM, deep)))

    with pytest.raises(ProtocolError):
        CODECS[BodyType.GENM][0](message.body.content_der)


def test_size_is_bounded() -> None:
    with pytest.raises(TooLargeError):
        parse_pki_message(WHOLE, max_bytes=len(WHOLE) - 1)
    assert parse_pki_message(WHOLE, max_bytes=len(WHOLE)).header == EVERY_FIELD


def test_rfc9810_5_1_3_5_nested_is_bounded() -> None:
    def nested(count: int) -> PKIBody:
        return PKIBody(BodyType.NESTED, der.sequence(*[WHOLE] * count))

    assert parse_nested(nested(MAX_NESTED)) == (WHOLE,) * MAX_NESTED
    with pytest.raises(TooLargeError):
        parse_nested(nested(MAX_NESTED + 1))
    with pytest.raises(MalformedError):
        parse_nested(nested(0))


# ---- properties

OCTETS = st.none() | st.binary(max_size=40)
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=3).map(tuple)
TIMES = st.none() | st.integers(0, 250_000_000_000).map(
    lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
ALGORITHMS = st.none() | st.sampled_from([ALGORITHM, AlgorithmIdentifier(oid.PBMAC1, der.sequence())])
INFOS = st.lists(
    st.builds(InfoTypeAndValue, st.sampled_from(["1.2.3", "2.999.1"]), st.sampled_from([None, der.null()])),
    max_size=3,
).map(tuple)
HEADERS = st.builds(
    PKIHeader,
    pvno=st.integers(-(2**70), 2**70),
    sender=st.sampled_from([NULL_DN, SENDER, DNS]),
    recipient=st.sampled_from([NULL_DN, SENDER, DNS]),
    message_time=TIMES,
    protection_alg=ALGORITHMS,
    sender_kid=OCTETS,
    recip_kid=OCTETS,
    transaction_id=OCTETS,
    sender_nonce=OCTETS,
    recip_nonce=OCTETS,
    free_text=TEXTS,
    general_info=INFOS,
)


@given(header=HEADERS, protection=OCTETS, certs=st.lists(st.just(CERT), max_size=3))
@settings(deadline=None)
def test_what_is_built_is_read_by_us_and_by_pyasn1(
    header: PKIHeader, protection: bytes | None, certs: list[bytes]
) -> None:
    encoded = build_pki_message(header, CONFIRM, protection, certs)
    message = parse_pki_message(encoded)

    assert (message.header, message.protection, message.extra_certs) == (header, protection, tuple(certs))
    independent, rest = decode(encoded, asn1Spec=rfc9810.PKIMessage())
    assert not rest
    assert encode(independent) == encoded


def read_all(data: bytes) -> PKIMessage:
    """Read a message to its last field, as a server would before it believes anything."""
    message = parse_pki_message(data)
    read_general_info(message.header.general_info)
    if message.header.protection_alg is not None:
        read_protection(message.header.protection_alg)
    if message.body.tag in CODECS:
        CODECS[message.body.tag][0](message.body.content_der)
    if message.body.tag is BodyType.NESTED:
        for one in parse_nested(message.body):
            parse_pki_message(one)
    return message


@given(st.binary(max_size=200))
def test_bytes_at_random(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_all(data)


@st.composite
def mutated(draw: Any) -> bytes:
    """A message with a few octets changed, taken out, put in or repeated."""
    data = bytearray(vector(draw(st.sampled_from(MESSAGES))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                data[at] = draw(st.integers(0, 255))
            case 1 if len(data) > 1:
                del data[at]
            case 2:
                data[at:at] = draw(st.binary(min_size=1, max_size=3))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 30))]
    return bytes(data)


@given(mutated())
@settings(max_examples=400, deadline=None)
def test_mutated_messages_raise_only_our_errors(data: bytes) -> None:
    with suppress(ProtocolError):
        message = read_all(data)
        assert message.der == data
        rebuilt = build_pki_message(message.header, message.body, message.protection, message.extra_certs)
        assert rebuilt == data  # what is taken for DER has one encoding


@pytest.mark.long
@given(mutated())
@settings(max_examples=50_000, deadline=None)
def test_many_mutated_messages_raise_only_our_errors(data: bytes) -> None:
    with suppress(ProtocolError):
        message = read_all(data)
        assert protected_part(message) == der.sequence(message.header.encode(), message.body.encode())
