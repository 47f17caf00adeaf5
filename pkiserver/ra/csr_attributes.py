"""What a certificate profile wants of a request, as csrattrs tells it (RFC 7030 §4.5, RFC 9908 §3)."""

from typing import Final

from cryptography import x509

from config.profile import Profile
from config.profile_fields import Attribute
from pkiserver.ca.extensions import usage_extensions
from pkiserver.ca.identity import ATTRIBUTE_OIDS
from protocols import oid
from protocols.asn1 import der
from protocols.est.csr_attributes import CSRDescription, KeySpec, csr_attrs
from protocols.est.csr_template import ExtensionTemplate, NameTemplate, SingleAttributeTemplate

_CURVES: Final = {"P-256": oid.SECP256R1, "P-384": oid.SECP384R1, "P-521": oid.SECP521R1}
_ALGORITHMS: Final = {"ec": oid.EC_PUBLIC_KEY, "rsa": oid.RSA_ENCRYPTION, "ed25519": oid.ED25519}


def csr_attributes(profile: Profile) -> bytes:
    """Return the DER CsrAttrs of a profile, in both forms.

    Of the subject: the fixed attributes with their values and the other required ones without, which the
    client fills in. One that it leaves out, or says otherwise than was approved, comes from the approval; a
    client that re-enrols says all of its certificate's.
    """
    return csr_attrs(describe(profile), template=True).encode()


def describe(profile: Profile) -> CSRDescription:
    """Return what a profile wants."""
    return CSRDescription(
        challenge_password=profile.pop_linking == "required",
        key=_key(profile),
        subject=_subject(profile) or None,
        extensions=_extensions(profile),
    )


def _key(profile: Profile) -> KeySpec | None:
    """Return as much of the key as all kinds have in common that the profile takes; None for nothing."""
    kinds = [kind.partition(":") for kind in profile.keys]
    algorithms = {algorithm for algorithm, _, _ in kinds}
    if len(algorithms) != 1:
        return None
    algorithm = _ALGORITHMS[kinds[0][0]]
    parameters = [parameter for _, _, parameter in kinds]
    if algorithm == oid.RSA_ENCRYPTION:
        return KeySpec(algorithm, bits=min(map(int, parameters)))
    return KeySpec(algorithm, curve=_CURVES.get(parameters[0]) if len(parameters) == 1 else None)


def _subject(profile: Profile) -> NameTemplate:
    return tuple((_attribute(rule),) for rule in profile.subject if rule.required or rule.value)


def _attribute(rule: Attribute) -> SingleAttributeTemplate:
    attr_type = ATTRIBUTE_OIDS[rule.attribute]
    if not rule.value:
        return SingleAttributeTemplate(attr_type)
    name = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(attr_type), rule.value)])  # its string type
    attribute = der.Reader(name.public_bytes()).enter().enter(der.SET).enter()
    attribute.oid()
    return SingleAttributeTemplate(attr_type, attribute.read_any()[1])


def _extensions(profile: Profile) -> tuple[ExtensionTemplate, ...]:
    wanted = tuple(
        ExtensionTemplate(one.value.oid.dotted_string, one.critical, one.value.public_bytes())
        for one in usage_extensions(profile)
    )
    if profile.san_required or any(rule.min for rule in profile.san):
        return (*wanted, ExtensionTemplate(oid.SUBJECT_ALT_NAME))
    return wanted
