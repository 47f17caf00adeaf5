"""qcStatements, both ways, against the octets and pkilint's independent types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pkilint.etsi.asn1 import en_319_412_5
from pyasn1.codec.der.decoder import decode

from protocols import oid
from protocols.asn1 import der
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.x509.qcstatements import (
    MAX_STATEMENTS,
    OtherStatement,
    PKIXQCSyntaxV2,
    QcLimitValue,
    QCStatement,
    QcType,
    encode_qc_statements,
    parse_qc_statements,
)

AUTHORITIES = der.sequence(der.encode(0x82, b"burtgel.gov.mn"))

STATEMENTS: list[tuple[str, QCStatement, str]] = [
    ("en319412_5_4_2_3_esign", QcType(), "3013060604008e4601063009060704008e46010601"),
    (
        "en319412_5_4_2_3_two_types",
        QcType((oid.QCT_ESIGN, oid.QCT_ESEAL)),
        "301c060604008e4601063012060704008e46010601060704008e46010602",
    ),
    (
        "en319412_5_4_3_2_mnt",
        QcLimitValue("MNT", 5, 7),
        "3015060604008e460102300b13034d4e54020105020107",
    ),
    (
        "en319412_5_4_3_2_numeric",
        QcLimitValue("496", 50_000_000),
        "3017060604008e460102300d020201f0020402faf080020100",
    ),
    (
        "rfc3739_3_2_6_1_natural",
        PKIXQCSyntaxV2(),
        "301506082b06010505070b023009060704008bec490101",
    ),
    ("rfc3739_3_2_6_1_no_information", PKIXQCSyntaxV2(None), "300a06082b06010505070b02"),
    (
        "rfc3739_3_2_6_1_authorities",
        PKIXQCSyntaxV2(None, AUTHORITIES),
        "301e06082b06010505070b023012" + AUTHORITIES.hex(),
    ),
    ("en319412_5_4_2_1_compliance", OtherStatement(oid.QCS_QC_COMPLIANCE), "3008060604008e460101"),
    ("other_with_information", OtherStatement("1.2.3", der.null()), "300606022a030500"),
]


@pytest.mark.parametrize(("rule", "statement", "encoded"), STATEMENTS, ids=[row[0] for row in STATEMENTS])
def test_statement_both_ways(rule: str, statement: QCStatement, encoded: str) -> None:
    qc_statements = der.sequence(bytes.fromhex(encoded))

    assert encode_qc_statements([statement]).hex() == qc_statements.hex()
    assert parse_qc_statements(qc_statements) == (statement,)


def test_several_statements_keep_their_order() -> None:
    statements = (QcLimitValue("MNT", 1), QcType(), PKIXQCSyntaxV2(), OtherStatement("1.2.3"))

    assert parse_qc_statements(encode_qc_statements(statements)) == statements


def test_limit_value_is_the_one_pkilint_reads() -> None:
    fields = der.Reader(encode_qc_statements([QcLimitValue("MNT", 5, 7)])).enter().enter()
    fields.oid()

    value, rest = decode(fields.read_raw(der.SEQUENCE), asn1Spec=en_319_412_5.QcEuLimitValue())

    assert rest == b""
    assert str(value["currency"]["alphabetic"]) == "MNT"
    assert (int(value["amount"]), int(value["exponent"])) == (5, 7)


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [QcType(), QcType()],
        [QcType(())],
        [QcType(("esign",))],
        [QcType(("3.1",))],
        [OtherStatement("")],
        [PKIXQCSyntaxV2("x")],
        [QcLimitValue("mnt", 1)],
        [QcLimitValue("ТӨГ", 1)],
        [QcLimitValue("000", 1)],
        [QcLimitValue("MNT", -1)],
        [QcLimitValue("MNT", 1 << 63)],
        [QcLimitValue("MNT", 1, 31)],
        [OtherStatement("1.2.3", b"\x05")],
        [OtherStatement("1.2.3", der.null() * 2)],
        [PKIXQCSyntaxV2(None, der.null())],
    ],
    ids=repr,
)
def test_statement_that_breaks_a_rule_is_not_built(statements: list[QCStatement]) -> None:
    with pytest.raises(MalformedError):
        encode_qc_statements(statements)


def statement(statement_id: str, *info: bytes) -> bytes:
    return der.sequence(der.sequence(der.oid(statement_id), *info))


@pytest.mark.parametrize(
    "encoded",
    [
        statement(oid.QCS_QC_TYPE),
        statement(oid.QCS_QC_LIMIT_VALUE, der.sequence(der.integer(1000), der.integer(1), der.integer(1))),
        statement(
            oid.QCS_QC_LIMIT_VALUE, der.sequence(der.utf8_string("MNT"), der.integer(1), der.integer(1))
        ),
        statement(oid.QCS_PKIX_QC_SYNTAX_V2, der.sequence()),
        statement("1.2.3", der.null(), der.null()),
        der.sequence() + b"\x00",
    ],
    ids=["type absent", "currency 1000", "currency UTF8String", "semantics empty", "two infos", "trailing"],
)
def test_malformed_statement_is_refused(encoded: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_qc_statements(encoded)


def test_counts_are_bounded() -> None:
    with pytest.raises(TooLargeError):
        encode_qc_statements([OtherStatement(f"1.2.{n}") for n in range(MAX_STATEMENTS + 1)])
    with pytest.raises(TooLargeError):
        encode_qc_statements([QcType((oid.QCT_ESIGN,) * 9)])


@given(
    st.sampled_from([oid.QCS_QC_TYPE, oid.QCS_QC_LIMIT_VALUE, oid.QCS_PKIX_QC_SYNTAX_V2]),
    st.binary(max_size=30),
)
def test_any_octets_raise_only_protocol_errors(statement_id: str, info: bytes) -> None:
    for encoded in (info, statement(statement_id, info), statement(statement_id, der.sequence(info))):
        try:
            statements = parse_qc_statements(encoded)
        except ProtocolError:
            continue
        if statements:
            assert encode_qc_statements(statements) == encoded
