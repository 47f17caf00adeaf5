"""Who a certificate is for: what was approved and what was asked for, held to the profile's rules."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from config.profile import Profile
from config.profile_fields import AlternativeName, Attribute
from pkiserver.errors import RefusedError
from protocols import oid
from protocols.errors import ProtocolError
from protocols.x509.general_names import MAX_GENERAL_NAMES_BYTES
from protocols.x509.names import make_name, parse_san, san_text
from protocols.x509.qcstatements import QcLimitValue, parse_qc_statements

ATTRIBUTE_OIDS: Final = {
    "countryName": oid.COUNTRY_NAME,
    "stateOrProvinceName": oid.STATE_OR_PROVINCE_NAME,
    "localityName": oid.LOCALITY_NAME,
    "organizationName": oid.ORGANIZATION_NAME,
    "organizationalUnitName": oid.ORGANIZATIONAL_UNIT_NAME,
    "organizationIdentifier": oid.ORGANIZATION_IDENTIFIER,
    "title": oid.TITLE,
    "serialNumber": oid.SERIAL_NUMBER,
    "surname": oid.SURNAME,
    "givenName": oid.GIVEN_NAME,
    "commonName": oid.COMMON_NAME,
}
_ATTRIBUTES: Final = {dotted: attribute for attribute, dotted in ATTRIBUTE_OIDS.items()}
MAX_LIMIT_MNT: Final = 10**15  # above the country's yearly product; QcLimitValue stays within 64 bits
SAN_KINDS: Final[dict[type[x509.GeneralName], str]] = {
    x509.DNSName: "dns",
    x509.IPAddress: "ip",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "uri",
}
_NO_NAME: Final = x509.Name([])


@dataclass(frozen=True, slots=True)
class Identity:
    """The approved identity: subject in the order of the certificate, alternative names, value limit."""

    subject: x509.Name
    san: tuple[x509.GeneralName, ...] = ()
    limit_mnt: int | None = None  # whole tugrik; None: no limit


@dataclass(frozen=True, slots=True)
class _Claims:
    """What was approved and, once there is a request, what it asks for. Values by attribute or kind."""

    approved: dict[str, str]
    requested: dict[str, str]
    approved_san: dict[str, tuple[x509.GeneralName, ...]]
    requested_san: dict[str, tuple[x509.GeneralName, ...]]
    complete: bool  # False while there is no request yet: what only it can say is not missed


def approve_identity(
    profile: Profile,
    *,
    approved_subject: x509.Name,
    approved_san: Sequence[x509.GeneralName] = (),
    requested_subject: x509.Name | None,
    requested_san: Sequence[x509.GeneralName] | None = None,
    limit_mnt: int | None = None,
) -> Identity:
    """Return the identity that the profile makes of what was approved and what a request asks for.

    Each attribute and alternative name comes from where the profile says, in the profile's order, and obeys
    its rule. What was approved wins; where the source is `request`, a request that differs from what was
    approved is refused. A request is ignored in everything else. Raises `RefusedError` naming all that is
    wrong, also for an approved value that the profile has no place for.

    Without a request (`requested_subject` None), as when a credential is made, what only a request can say
    is not missed; such an identity is good for this check alone.
    """
    faults: list[str] = []
    claims = _Claims(
        _attributes(approved_subject, "approved", faults),
        _attributes(requested_subject or _NO_NAME, "requested", None),
        _names(approved_san, faults),
        _names(requested_san or (), None),
        complete=requested_subject is not None,
    )
    known = {one.attribute for one in profile.subject}
    faults += [
        f"subject: {name} has no place in this profile" for name in claims.approved if name not in known
    ]
    kinds = {one.kind for one in profile.san}
    faults += [
        f"san: {kind} names have no place in this profile"
        for kind in claims.approved_san
        if kind not in kinds
    ]
    faults += _limit_faults(profile, limit_mnt)
    subject = [(rule, value) for rule in profile.subject if (value := _attribute(rule, claims, faults))]
    name = _written(subject, faults)
    san = _san(profile, claims, faults)
    if faults:
        raise RefusedError(f"profile {profile.name}: {'; '.join(faults)}")
    return Identity(name, san, limit_mnt)


def certificate_identity(certificate: x509.Certificate) -> Identity:
    """Return the identity that a certificate of ours was issued for.

    The limit is that of the certificate itself: one without qcStatements tells nothing of its holder's limit.
    """
    try:
        san = tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        san = ()
    return Identity(certificate.subject, san, _limit(certificate))


def _limit(certificate: x509.Certificate) -> int | None:
    try:
        extension = certificate.extensions.get_extension_for_oid(
            x509.ObjectIdentifier(oid.QC_STATEMENTS)
        ).value
    except x509.ExtensionNotFound:
        return None
    value = extension.value if isinstance(extension, x509.UnrecognizedExtension) else b""
    limits = [one for one in parse_qc_statements(value) if isinstance(one, QcLimitValue)]
    return limits[0].amount * 10 ** limits[0].exponent if limits else None


def _san(profile: Profile, claims: _Claims, faults: list[str]) -> tuple[x509.GeneralName, ...]:
    names = tuple(name for rule in profile.san for name in _alternative_names(rule, claims, faults))
    may_follow = not claims.complete and any(rule.source == "request" for rule in profile.san)
    if profile.san_required and not names and not may_follow:
        faults.append(f"san: a name is required ({' or '.join(rule.kind for rule in profile.san)})")
    if names and len(x509.SubjectAlternativeName(names).public_bytes()) > MAX_GENERAL_NAMES_BYTES:
        faults.append(f"san: the names together are longer than {MAX_GENERAL_NAMES_BYTES} bytes")
    return names


def _limit_faults(profile: Profile, limit_mnt: int | None) -> Iterator[str]:
    if limit_mnt is None:
        return
    if profile.qc_statements is None or not profile.qc_statements.limit_value:
        yield "a value limit has no place in this profile"
    if not 0 < limit_mnt <= MAX_LIMIT_MNT:
        yield f"the value limit is not between 1 and {MAX_LIMIT_MNT} MNT"


def _attributes(name: x509.Name, whose: str, faults: list[str] | None) -> dict[str, str]:
    """Return the known attributes by name; what is unknown or repeated is a fault, or ignored when None."""
    found: dict[str, str] = {}
    repeated: set[str] = set()
    for attribute in name:
        key = _ATTRIBUTES.get(attribute.oid.dotted_string)
        if key is None or not isinstance(attribute.value, str):
            _add(faults, f"subject: attribute {attribute.oid.dotted_string} has no place in this profile")
        elif key in found:
            repeated.add(key)
            _add(faults, f"subject: {key} is {whose} twice")
        else:
            found[key] = attribute.value
    return {key: value for key, value in found.items() if key not in repeated}


def _names(
    names: Sequence[x509.GeneralName], faults: list[str] | None
) -> dict[str, tuple[x509.GeneralName, ...]]:
    found: dict[str, tuple[x509.GeneralName, ...]] = {}
    for name in dict.fromkeys(names):
        kind = SAN_KINDS.get(type(name))
        if kind is None:
            _add(faults, f"san: {type(name).__name__} has no place in this profile")
        else:
            found[kind] = (*found.get(kind, ()), name)
    return found


def _add(faults: list[str] | None, fault: str) -> None:
    if faults is not None:
        faults.append(fault)


def _attribute(rule: Attribute, claims: _Claims, faults: list[str]) -> str:
    """Return the value of one attribute, empty when there is none."""
    approved, requested = claims.approved.get(rule.attribute, ""), claims.requested.get(rule.attribute, "")
    if rule.source == "fixed" and approved not in ("", rule.value):
        faults.append(f"subject: {rule.attribute} is always {rule.value}")
    if rule.source == "request" and approved and requested not in ("", approved):
        faults.append(f"subject: the requested {rule.attribute} is not the approved one")
    value = {"fixed": rule.value, "credential": approved, "request": approved or requested}[rule.source]
    if value:
        faults += _attribute_faults(rule, value)
    elif rule.required and (claims.complete or rule.source != "request"):
        faults.append(f"subject: {rule.attribute} is required")
    return value


def _attribute_faults(rule: Attribute, value: str) -> Iterator[str]:
    if len(value) > rule.length_bound:  # before the pattern, whose work it bounds
        yield f"subject: {rule.attribute} is longer than {rule.length_bound} characters"
    elif rule.pattern and re.fullmatch(rule.pattern, value) is None:
        yield f"subject: {rule.attribute} does not match {rule.pattern}"


def _written(subject: Sequence[tuple[Attribute, str]], faults: list[str]) -> x509.Name:
    """Return the name of these attributes; where it is none, say of each what is wrong with it."""
    try:
        return _name(subject)
    except ProtocolError as error:
        before = len(faults)
        for attribute in subject:
            try:
                _name([attribute])
            except ProtocolError as fault:
                faults.append(str(fault))
        if len(faults) == before:
            faults.append(str(error))
        return _NO_NAME


def _alternative_names(
    rule: AlternativeName, claims: _Claims, faults: list[str]
) -> tuple[x509.GeneralName, ...]:
    approved, requested = claims.approved_san.get(rule.kind, ()), claims.requested_san.get(rule.kind, ())
    if rule.default_from_common_name and not approved:
        approved = _common_name(rule, claims)
    if rule.source == "request" and approved and requested and set(requested) != set(approved):
        faults.append(f"san: the requested {rule.kind} names are not the approved ones")
    names = (approved or requested) if rule.source == "request" else approved
    if len(names) > rule.max:  # before the patterns, whose work it bounds
        faults.append(f"san: more than {rule.max} {rule.kind} names")
        return ()
    if len(names) < rule.min and (claims.complete or rule.source != "request"):
        faults.append(f"san: {rule.min} or more {rule.kind} names are required")
    for name in names:
        faults += _san_faults(rule, name)
    return names


def _common_name(rule: AlternativeName, claims: _Claims) -> tuple[x509.GeneralName, ...]:
    """Return the approved commonName as a DNS name where it is one that the rule allows."""
    value = claims.approved.get("commonName", "")
    try:
        name = parse_san(f"{rule.kind}:{value}")
    except ProtocolError:  # a commonName may well be something else than a host
        return ()
    return () if tuple(_san_faults(rule, name)) else (name,)


def _san_faults(rule: AlternativeName, name: x509.GeneralName) -> Iterator[str]:
    try:
        text = san_text(parse_san(san_text(name))).partition(":")[2]
    except ProtocolError as error:
        yield str(error)
        return
    if rule.pattern and re.fullmatch(rule.pattern, text) is None:
        yield f"san: {text!a} does not match {rule.pattern}"


def _name(attributes: Sequence[tuple[Attribute, str]]) -> x509.Name:
    """Return the name of one attribute an RDN, with the string types of RFC 5280 appendix A.

    One set of rules holds for what an operator types and a client sends. Raises `ProtocolError` for a value
    that breaks them.
    """
    if not attributes:
        return _NO_NAME
    return make_name([(ATTRIBUTE_OIDS[rule.attribute], value) for rule, value in attributes])
