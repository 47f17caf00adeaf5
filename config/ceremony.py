"""The file of a key ceremony: what is made in it, reviewed and signed before anybody touches a key."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, StrictStr, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError, refuse
from config.schema import PublicURL
from config.schema_authorities import SubjectText
from config.schema_keys import TokenURI
from config.units import CertificateLifetime, OptionalPath, PositiveDuration, SigningKey
from config.validation import parse_toml, validate

MAX_OPERATORS: Final = 32
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")  # it is a file name and a part of URLs
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_SERIAL: Final = re.compile(r"[0-9a-f]{1,40}")
REASON_CODES: Final[Mapping[str, int]] = {  # RFC 5280 §5.3.1: those that a CA's certificate may have
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
}


def _sha256(value: object) -> object:
    if not isinstance(value, str) or _HEX.fullmatch(value) is None:
        raise refuse("no SHA-256", "64 hexadecimal digits in lower case, as sha256sum prints them")
    return value


def _serial(value: object) -> object:
    if not isinstance(value, str) or _SERIAL.fullmatch(value) is None or int(value, 16) == 0:
        raise refuse("no serial number", "a text of 1 to 40 hexadecimal digits in lower case")
    return value


def _reason(value: str) -> str:
    if value not in REASON_CODES:
        raise refuse(f"{value[:40]!r} is no reason of a CA's certificate", ", ".join(REASON_CODES))
    return value


def _moment(value: object) -> object:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise refuse("no moment", "a TOML date and time with its zone, such as 2026-12-01T10:00:00+08:00")
    return value.astimezone(UTC).replace(microsecond=0)


SHA256Text = Annotated[str, BeforeValidator(_sha256)]
SerialText = Annotated[str, BeforeValidator(_serial)]
ReasonName = Annotated[StrictStr, AfterValidator(_reason)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
PersonName = Annotated[StrictStr, Field(min_length=1, max_length=100)]


class Input(Section):
    """A file from elsewhere, held to the SHA-256 that was reviewed; relative to the ceremony's file."""

    file: Path = Field(description="The file, PEM or DER.")
    sha256: SHA256Text = Field(description="Its SHA-256.")


class Store(Section):
    """Where the keys are made: a token, or a folder of encrypted files."""

    uri: TokenURI = option("", description="The token (RFC 7512).")
    folder: OptionalPath = option("", description="The folder of software keys, instead of a token.")
    passphrase_file: OptionalPath = option("", description="The passphrase of the software keys.")

    @model_validator(mode="after")
    def _one_of_two(self) -> "Store":
        if bool(self.uri) == bool(self.folder):
            raise refuse("none or both", "one of uri (a token) and folder (software keys)")
        if bool(self.folder) != bool(self.passphrase_file):
            raise refuse("incomplete", "folder and passphrase_file belong together")
        return self


class Key(Section):
    """One key, by its label in the store."""

    kind: SigningKey = Field(
        description="ec:P-256, ec:P-384, ec:P-521, rsa:2048, rsa:3072, rsa:4096, ed25519."
    )
    existing: StrictBool = option(False, description="It is there from an earlier ceremony; never made.")


class Known(Section):
    """An authority of an earlier ceremony that issues in this one."""

    certificate: Input = Field(description="Its certificate.")
    key: str = Field(description="Its key, one that exists.")


class Certificate(Section):
    """One certificate: of a key made here, of a request, or across to another authority's certificate."""

    profile: str = Field(description="The certificate profile.")
    issuer: str = option("", description="A certificate above it here, or a known one; empty: itself.")
    lifetime: CertificateLifetime = Field(description="Its validity.")
    key: str = option("", description="The key that it is for.")
    subject: SubjectText | None = option(None, description="Its name, where it is for a key.")
    request: Input | None = option(None, description="PKCS #10: name and key are those of the request.")
    certificate: Input | None = option(None, description="Cross-certificate: name and key are those of it.")
    ocsp: StrictBool = option(True, description="Whether it names an OCSP address where its profile has one.")

    @model_validator(mode="after")
    def _one_source(self) -> "Certificate":
        if [bool(self.key), self.request is not None, self.certificate is not None].count(True) != 1:
            raise refuse("none or several", "one of key, request and certificate says whom it is for")
        if bool(self.key) != (self.subject is not None):
            raise refuse("the name", "subject is given with key, and with nothing else")
        if not self.issuer and not self.key:
            raise refuse("no issuer", "only the certificate of a key made here can be its own issuer")
        return self


class Request(Section):
    """A request (PKCS #10) for an authority elsewhere."""

    key: str = Field(description="The key that it is for, and signed by.")
    subject: SubjectText = Field(description="The name that it asks for.")


class Revoked(Section):
    """An entry of a CRL."""

    serial: SerialText = Field(description="The serial number in hexadecimal.")
    date: Moment = Field(description="When it was revoked.")
    reason: ReasonName = option("unspecified", description="Why.")


class CRL(Section):
    """One complete CRL."""

    issuer: str = Field(description="A certificate made here, or a known one.")
    number: StrictInt = Field(ge=1, le=2**63 - 1, description="Its CRL number; above every earlier one.")
    lifetime: PositiveDuration | None = option(None, description="From thisUpdate to nextUpdate.")
    last: StrictBool = option(False, description="The last of its issuer: its nextUpdate is the end of 9999.")
    previous: Input | None = option(
        None, description="The newest one of its issuer before; its entries are all in this one too."
    )
    revoked: tuple[Revoked, ...] = option((), description="Its entries.")

    @model_validator(mode="after")
    def _ends(self) -> "CRL":
        if self.last is (self.lifetime is not None):
            raise refuse("its end", "a CRL has a lifetime, or is the last")
        if len({int(one.serial, 16) for one in self.revoked}) != len(self.revoked):
            raise refuse("a serial stands twice", "one entry a certificate")
        return self


class Transcript(Section):
    """How the transcript is signed."""

    certificate: str = Field(description="A certificate made here for a key made here; it signs.")
    font: Input | None = option(
        None, description="TrueType font of the PDF, for names that are not in Latin letters."
    )


class Witness(Section):
    """Who witnesses the ceremony, and is independent of the provider's management: a notary, an auditor."""

    name: StrictStr = Field(min_length=1, max_length=100, description="Who.")
    role: StrictStr = Field(
        min_length=1, max_length=100, description="As what: notary, auditor, and of whom."
    )
    certificate: Input = Field(description="The certificate of who signs the transcript.")


class Ceremony(Section):
    """The whole of a ceremony's file. Certificates are made in the order in which they stand."""

    title: StrictStr = Field(min_length=1, max_length=100, description="What the ceremony is for.")
    public_url: PublicURL = Field(description="As in pkiserver.toml: AIA and CDP begin with it.")
    at: Moment | None = option(None, description="notBefore and thisUpdate; else when the ceremony begins.")
    witnesses: tuple[PersonName, ...] = option(
        (), max_length=MAX_OPERATORS, description="Who is present; each gets a line to sign on."
    )
    witness: Witness | None = option(None, description="The independent one, who signs the transcript.")
    store: Store = Field(description="Where the keys are.")
    keys: Mapping[str, Key] = Field(min_length=1, description="The keys, by their labels.")
    profiles: Mapping[str, Input] = option({}, description="Certificate profiles that are not shipped.")
    known: Mapping[str, Known] = option({}, description="Issuers of earlier ceremonies.")
    certificates: Mapping[str, Certificate] = option({}, description="The certificates, by name.")
    requests: Mapping[str, Request] = option({}, description="The requests, by name.")
    crls: Mapping[str, CRL] = option({}, description="The CRLs, by name.")
    transcript: Transcript = Field(description="Who signs the transcript.")

    @model_validator(mode="after")
    def _rules(self) -> "Ceremony":
        rules = (_names, _keys, _issuers, _crls, _transcript)
        broken = [one for rule in rules for one in rule(self)]
        if broken:
            raise RuleError(*broken)
        return self


def _names(ceremony: Ceremony) -> Iterator[Broken]:
    rule = "lower-case letters, digits and hyphens, a letter first, 32 at most"
    for table in ("keys", "profiles", "known", "certificates", "requests", "crls"):
        for name in getattr(ceremony, table):
            if _NAME.fullmatch(name) is None:
                yield Broken(f"{name[:40]!r} is no name", rule, table)
    for name in ceremony.known.keys() & ceremony.certificates.keys():
        yield Broken(f"{name} is made here too", "a name means one certificate", "known")


def _keys(ceremony: Ceremony) -> Iterator[Broken]:
    rule = "a label in [keys]"
    for table in ("certificates", "requests", "known"):
        for name, one in getattr(ceremony, table).items():
            if one.key and one.key not in ceremony.keys:
                yield Broken(f"there is no key {one.key[:40]!r}", rule, f"{table}.{name}.key")
    for known in ceremony.known.values():
        key = ceremony.keys.get(known.key)
        if key is not None and not key.existing:
            yield Broken("is made here", "a known issuer's key says existing = true", f"keys.{known.key}")
    used = {
        one.key
        for table in ("certificates", "requests", "known")
        for one in getattr(ceremony, table).values()
    }
    for name in ceremony.keys.keys() - used:
        yield Broken("is used by nothing", "each key is of some certificate or request", f"keys.{name}")


def _issuers(ceremony: Ceremony) -> Iterator[Broken]:
    able = set(ceremony.known)
    for name, one in ceremony.certificates.items():
        if one.issuer and one.issuer not in able:
            rule = "a known one, or a certificate that stands above it and is for a key made here"
            yield Broken(f"{one.issuer[:40]!r} cannot issue", rule, f"certificates.{name}.issuer")
        if one.key:
            able.add(name)


def _crls(ceremony: Ceremony) -> Iterator[Broken]:
    able = ceremony.known.keys() | {name for name, one in ceremony.certificates.items() if one.key}
    seen: set[tuple[str, int]] = set()
    for name, one in ceremony.crls.items():
        if one.issuer not in able:
            rule = "a known one, or a certificate for a key made here"
            yield Broken(f"{one.issuer[:40]!r} cannot sign", rule, f"crls.{name}.issuer")
        if one.issuer in ceremony.known and one.number > 1 and one.previous is None:
            rule = "of an earlier ceremony's issuer the newest CRL is named: previous = { file, sha256 }"
            yield Broken("is not said", rule, f"crls.{name}.previous")
        if (one.issuer, one.number) in seen:
            yield Broken(f"{one.number} twice", "an issuer's CRLs have each a number", f"crls.{name}.number")
        seen.add((one.issuer, one.number))


def _transcript(ceremony: Ceremony) -> Iterator[Broken]:
    named = ceremony.certificates.get(ceremony.transcript.certificate)
    key = ceremony.keys.get(named.key) if named is not None else None
    # A key that exists has signed other transcripts, any of which would verify as this one's.
    if named is None or not named.key or (key is not None and key.existing):
        rule = "a certificate in [certificates] for a key made here"
        yield Broken(f"there is no {ceremony.transcript.certificate[:40]!r}", rule, "transcript.certificate")


class Operator(Section):
    """One person who may sign ceremony files."""

    name: StrictStr = Field(min_length=1, max_length=100, description="Who.")
    certificate: Path = Field(description="The certificate (PEM), relative to the register.")


class Operators(Section):
    """The register of those who may sign ceremony files, and how many of them must."""

    quorum: StrictInt = Field(ge=1, le=MAX_OPERATORS, description="How many must sign.")
    issuers: Path | None = option(
        None,
        description="A PEM file of the CAs that issued the operators' certificates, and their CRLs; where it "
        "is named, no certificate counts that is not of them, is in a CRL, or whose CRL is not current.",
    )
    operators: tuple[Operator, ...] = Field(min_length=1, max_length=MAX_OPERATORS, description="Who may.")

    @model_validator(mode="after")
    def _enough(self) -> "Operators":
        if self.quorum > len(self.operators):
            raise refuse(f"{self.quorum} of {len(self.operators)}", "no more must sign than may")
        if len({one.name for one in self.operators}) != len(self.operators):
            raise refuse("a name twice", "each operator stands in the register once")
        return self


def parse_ceremony(data: bytes, file: str) -> Ceremony:
    """Return what a ceremony's file says; `ConfigError` that lists everything wrong with it."""
    return validate(Ceremony, parse_toml(data, file), file)


def parse_operators(data: bytes, file: str) -> Operators:
    """Return the register of operators in some octets; `ConfigError` that lists everything wrong with it."""
    return validate(Operators, parse_toml(data, file), file)


def end_of(crl: CRL, this_update: datetime, no_further_update: datetime) -> datetime:
    """Return the nextUpdate of a CRL."""
    return no_further_update if crl.lifetime is None else this_update + crl.lifetime
