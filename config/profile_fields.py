"""The tables inside a profile: subject attributes, alternative names, policies, statements, addresses."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, PlainValidator, StrictBool, StrictInt, model_validator

from config.base import Section
from config.errors import Broken, RuleError, refuse
from config.profile_rules import ATTRIBUTE_BOUNDS

_MAX_PATTERN_LENGTH: Final = 500
_OID: Final = re.compile(r"(?:[01]\.[1-3]?[0-9]|2\.(?:0|[1-9][0-9]{0,9}))(?:\.(?:0|[1-9][0-9]{0,37}))*")

Source = Literal["credential", "request", "fixed"]
AttributeType = Literal[
    "countryName",
    "stateOrProvinceName",
    "localityName",
    "organizationName",
    "organizationalUnitName",
    "organizationIdentifier",
    "title",
    "serialNumber",
    "surname",
    "givenName",
    "commonName",
]
SANKind = Literal["dns", "ip", "email", "uri"]
KeyUsageName = Literal[
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
]
ExtendedKeyUsageName = Literal[
    "serverAuth", "clientAuth", "emailProtection", "OCSPSigning", "cmcRA", "cmcCA", "cmKGA"
]
QcTypeName = Literal["esign", "eseal", "web"]
SemanticsName = Literal["natural", "legal"]


def _pattern(value: str) -> str:
    rule = f"a regular expression of Python, {_MAX_PATTERN_LENGTH} characters at most, matched as a whole"
    if len(value) > _MAX_PATTERN_LENGTH:
        raise refuse("the pattern is too long", rule)
    try:
        re.compile(value)
    except re.error as error:
        raise refuse(f"{value!r} is no pattern ({error})", rule) from error
    return value


def _oid(value: object) -> str:
    if not isinstance(value, str) or _OID.fullmatch(value) is None:
        raise refuse(
            f"{str(value)[:60]!r} is no OID", "numbers with dots between, such as 1.3.6.1.4.1.32473.1"
        )
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
ObjectIdentifier = Annotated[str, PlainValidator(_oid)]


class Attribute(Section):
    """One attribute of the subject, and the rule it is held to."""

    attribute: AttributeType
    source: Source
    value: str = ""  # of source fixed
    required: StrictBool = True
    pattern: Pattern = ""  # matched against the whole value; empty allows any
    max_length: StrictInt = Field(0, ge=0)  # characters; 0 means the upper bound of RFC 5280 appendix A.1

    @model_validator(mode="after")
    def _rules(self) -> "Attribute":
        broken = []
        bound = ATTRIBUTE_BOUNDS[self.attribute]
        if (self.source == "fixed") != bool(self.value):
            broken.append(Broken("missing or useless", "source fixed, and no other, has a value", "value"))
        if self.max_length > bound:
            broken.append(
                Broken(
                    f"{self.max_length} is too long", f"{bound} at most for {self.attribute}", "max_length"
                )
            )
        if self.value and len(self.value) > self.length_bound:
            broken.append(Broken("the value is too long", f"{self.length_bound} characters at most", "value"))
        if self.value and self.pattern and re.fullmatch(self.pattern, self.value) is None:
            broken.append(Broken("the value does not match", "a fixed value obeys its pattern", "value"))
        if broken:
            raise RuleError(*broken)
        return self

    @property
    def length_bound(self) -> int:
        """The most characters that the value may have."""
        return self.max_length or ATTRIBUTE_BOUNDS[self.attribute]


class AlternativeName(Section):
    """One kind of subjectAltName, how many of it, and the rule that each is held to."""

    kind: SANKind
    source: Literal["credential", "request"]
    min: StrictInt = Field(0, ge=0, le=100)
    max: StrictInt = Field(1, ge=1, le=100)
    pattern: Pattern = ""
    default_from_common_name: StrictBool = False  # dns: where none is approved, the approved commonName is it

    @model_validator(mode="after")
    def _rules(self) -> "AlternativeName":
        if self.min > self.max:
            raise RuleError(Broken(f"{self.min} is more than max", "min <= max", "min"))
        if self.default_from_common_name and self.kind != "dns":
            raise RuleError(
                Broken("of no use here", "only a DNS name is a commonName", "default_from_common_name")
            )
        return self


class Policy(Section):
    """A certificate policy (RFC 5280 §4.2.1.4)."""

    oid: ObjectIdentifier
    cps_uri: Annotated[str, Field(max_length=200, pattern=r"^$|^https?://[!-~]+$")] = ""


class QCStatements(Section):
    """Statements of a qualified certificate (RFC 3739 §3.2.6, ETSI EN 319 412-5)."""

    types: tuple[QcTypeName, ...] = ()
    semantics: SemanticsName | None = None  # of serialNumber or organizationIdentifier (EN 319 412-1 §5.1)
    limit_value: StrictBool = False  # whether the approved identity may set a QcLimitValue


class Access(Section):
    """Which addresses authorityInfoAccess holds (RFC 5280 §4.2.2.1)."""

    ocsp: StrictBool = True
    ca_issuers: StrictBool = True
