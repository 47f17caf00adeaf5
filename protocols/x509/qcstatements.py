"""The qcStatements extension: RFC 3739 §3.2.6 with the statements of ETSI EN 319 412-5 §4.

Both ways between the extension's value and frozen dataclasses. Statements without a class of their own
(QcCompliance, QcSSCD, QcPDS, …) pass through as `OtherStatement`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from protocols import oid
from protocols.asn1 import der
from protocols.errors import MalformedError, TooLargeError

MAX_STATEMENTS: Final = 32  # the standards define about ten
MAX_QC_TYPES: Final = 8  # three are defined
_MAX_AMOUNT_BITS: Final = 63  # what every client's integer holds
_MAX_EXPONENT: Final = 30  # 10^30 passes any sum of money; bounds what a reader computes

_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_NUMERIC_CURRENCY: Final = re.compile(r"[0-9]{3}")


@dataclass(frozen=True, slots=True)
class QcType:
    """What the certificate is for: OIDs such as id-etsi-qct-esign (EN 319 412-5 §4.2.3)."""

    types: tuple[str, ...] = (oid.QCT_ESIGN,)


@dataclass(frozen=True, slots=True)
class QcLimitValue:
    """The highest transaction the certificate is for: amount × 10^exponent (EN 319 412-5 §4.3.2).

    `currency` is the alphabetic code of ISO 4217, such as "MNT"; a numeric code is read as its three digits.
    """

    currency: str
    amount: int
    exponent: int = 0


@dataclass(frozen=True, slots=True)
class PKIXQCSyntaxV2:
    """Conformance with RFC 3739, and the semantics of the subject's identifiers (RFC 3739 §3.2.6.1).

    `semantics_identifier` is an OID such as id-etsi-qcs-semanticsId-Natural, or None. The name
    registration authorities are kept as the DER of their SEQUENCE, or None.
    """

    semantics_identifier: str | None = oid.SEMANTICS_NATURAL
    name_registration_authorities: bytes | None = None


@dataclass(frozen=True, slots=True)
class OtherStatement:
    """Any other statement: its OID and the DER of its statementInfo, or None."""

    statement_id: str
    statement_info: bytes | None = None


QCStatement = QcType | QcLimitValue | PKIXQCSyntaxV2 | OtherStatement


def encode_qc_statements(statements: Sequence[QCStatement]) -> bytes:
    """Return the DER of QCStatements.

    `MalformedError` for no statement, one given twice, text that is no OID, or a value out of range.
    """
    if not statements:
        raise MalformedError("qcStatements would be empty")
    try:
        qc_statements = der.sequence(*map(_encode, statements))
    except ValueError as error:
        raise MalformedError("qcStatements names something that is no OBJECT IDENTIFIER") from error
    parse_qc_statements(qc_statements)  # one set of rules, both ways
    return qc_statements


def _encode(statement: QCStatement) -> bytes:
    match statement:
        case QcType():
            info = der.sequence(*map(der.oid, statement.types))
            return der.sequence(der.oid(oid.QCS_QC_TYPE), info)
        case QcLimitValue():
            return der.sequence(der.oid(oid.QCS_QC_LIMIT_VALUE), _encode_monetary_value(statement))
        case PKIXQCSyntaxV2():
            return der.sequence(der.oid(oid.QCS_PKIX_QC_SYNTAX_V2), _encode_semantics(statement))
        case OtherStatement():
            return der.sequence(der.oid(statement.statement_id), statement.statement_info or b"")


def _encode_monetary_value(limit: QcLimitValue) -> bytes:
    if _NUMERIC_CURRENCY.fullmatch(limit.currency):
        currency = der.integer(int(limit.currency))
    elif _CURRENCY.fullmatch(limit.currency):
        currency = der.encode(der.PRINTABLE_STRING, limit.currency.encode("ascii"))
    else:
        raise MalformedError("currency is no code of ISO 4217")
    return der.sequence(currency, der.integer(limit.amount), der.integer(limit.exponent))


def _encode_semantics(statement: PKIXQCSyntaxV2) -> bytes:
    identifier, authorities = statement.semantics_identifier, statement.name_registration_authorities
    if identifier is None and authorities is None:
        return b""
    return der.sequence(der.oid(identifier) if identifier is not None else b"", authorities or b"")


def parse_qc_statements(qc_statements: bytes) -> tuple[QCStatement, ...]:
    """Return the statements of a DER QCStatements, in order; raises `MalformedError` and `TooLargeError`."""
    outer = der.Reader(qc_statements)
    reader = outer.enter()
    outer.finish()
    statements: dict[str, QCStatement] = {}
    while not reader.at_end:
        if len(statements) == MAX_STATEMENTS:
            raise TooLargeError(f"more than {MAX_STATEMENTS} statements in qcStatements")
        fields = reader.enter()
        statement_id = fields.oid()
        if statement_id in statements:
            raise MalformedError("qcStatements holds a statement twice")
        parse = _PARSERS.get(statement_id)
        statements[statement_id] = _parse_other(statement_id, fields) if parse is None else parse(fields)
        fields.finish()
    return tuple(statements.values())


def _parse_other(statement_id: str, fields: der.Reader) -> OtherStatement:
    return OtherStatement(statement_id, None if fields.at_end else fields.read_any()[1])


def _parse_qc_type(fields: der.Reader) -> QcType:
    reader = fields.enter()
    types: list[str] = []
    while not reader.at_end:
        if len(types) == MAX_QC_TYPES:
            raise TooLargeError(f"QcType names more than {MAX_QC_TYPES} types")
        types.append(reader.oid())
    if not types:
        raise MalformedError("QcType names no type")
    return QcType(tuple(types))


def _parse_limit_value(fields: der.Reader) -> QcLimitValue:
    reader = fields.enter()
    limit = QcLimitValue(_parse_currency(reader), reader.integer(), reader.integer())
    reader.finish()
    if limit.amount < 0 or limit.amount.bit_length() > _MAX_AMOUNT_BITS:
        raise MalformedError("QcLimitValue has an amount out of range")
    if abs(limit.exponent) > _MAX_EXPONENT:
        raise MalformedError("QcLimitValue has an exponent out of range")
    return limit


def _parse_currency(reader: der.Reader) -> str:
    if reader.peek() == der.INTEGER:
        code = reader.integer()
        if not 1 <= code <= 999:
            raise MalformedError("currency is no numeric code of ISO 4217")
        return f"{code:03d}"
    content = reader.read(der.PRINTABLE_STRING)
    text = content.decode("ascii", "replace")
    if not _CURRENCY.fullmatch(text):
        raise MalformedError("currency is no alphabetic code of ISO 4217")
    return text


def _parse_semantics(fields: der.Reader) -> PKIXQCSyntaxV2:
    if fields.at_end:
        return PKIXQCSyntaxV2(None)
    reader = fields.enter()
    identifier = reader.oid() if reader.peek() == der.OID else None
    authorities = None if reader.at_end else reader.read_raw(der.SEQUENCE)
    reader.finish()
    if identifier is None and authorities is None:
        raise MalformedError("SemanticsInformation is empty (RFC 3739 §3.2.6.1)")
    return PKIXQCSyntaxV2(identifier, authorities)


_PARSERS: Final[dict[str, Callable[[der.Reader], QCStatement]]] = {
    oid.QCS_QC_TYPE: _parse_qc_type,
    oid.QCS_QC_LIMIT_VALUE: _parse_limit_value,
    oid.QCS_PKIX_QC_SYNTAX_V2: _parse_semantics,
}
