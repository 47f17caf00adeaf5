"""What a certificate profile wants of a request, and which keys are certified, in the words of CMP.

RFC 9810 §5.3.19.2, §5.3.19.3 and §5.3.19.16, RFC 9483 §4.3.3. Pure.
"""

from collections.abc import Iterable
from typing import Final

from config.profile import Profile
from pkiserver.ra.csr_attributes import describe
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier, Extension
from protocols.cmp.cert_template import CertTemplate
from protocols.cmp.controls import AttributeTypeAndValue
from protocols.cmp.general import CertReqTemplateContent, alg_id, rsa_key_len
from protocols.est.csr_template import NameTemplate

_CURVES: Final = {"P-256": oid.SECP256R1, "P-384": oid.SECP384R1, "P-521": oid.SECP521R1}
_SIGNING: Final = frozenset({"digitalSignature", "nonRepudiation"})
# What an RSA key and what a key on a curve needs to be for encryption; Ed25519 only signs.
_ENCRYPTING: Final = {
    "rsa": frozenset({"keyEncipherment", "dataEncipherment"}),
    "ec": frozenset({"keyAgreement"}),
}
_FILL_IN: Final = der.utf8_string("")  # RFC 9483 §4.3.3: a value that the client has to provide


def request_template(profile: Profile) -> CertReqTemplateContent:
    """Return what a request for a certificate of this profile holds.

    Values that the client has to provide are of no length (RFC 9483 §4.3.3). Each kind of key is named by a
    control; an RSA key may be longer than the one that is.
    """
    wanted = describe(profile)
    extensions = tuple(Extension(one.oid, one.critical, one.value or b"") for one in wanted.extensions)
    return CertReqTemplateContent(
        CertTemplate(subject=_name(wanted.subject or ()), extensions=extensions),
        tuple(_control(kind) for kind in profile.keys),
    )


def _name(template: NameTemplate) -> bytes:
    rdns = (
        der.set_of(der.sequence(der.oid(one.attr_type), one.value or _FILL_IN) for one in rdn)
        for rdn in template
    )
    return der.sequence(*rdns)


def _control(kind: str) -> AttributeTypeAndValue:
    algorithm, _, parameter = kind.partition(":")
    return rsa_key_len(int(parameter)) if algorithm == "rsa" else alg_id(algorithm_of(kind))


def algorithm_of(kind: str) -> AlgorithmIdentifier:
    """Return the algorithm of a kind of key as profiles write it, with its curve but not its length."""
    algorithm, _, parameter = kind.partition(":")
    if algorithm == "rsa":
        return AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null())
    if algorithm == "ec":
        return AlgorithmIdentifier(oid.EC_PUBLIC_KEY, der.oid(_CURVES[parameter]))
    return AlgorithmIdentifier(oid.ED25519)


def signing_algorithms(profiles: Iterable[Profile]) -> tuple[AlgorithmIdentifier, ...]:
    """Return the algorithms whose keys these profiles certify for signatures, each once."""
    kinds = (kind for one in profiles if _SIGNING.intersection(one.key_usage) for kind in one.keys)
    return _each_once(kinds)


def encryption_algorithms(profiles: Iterable[Profile]) -> tuple[AlgorithmIdentifier, ...]:
    """Return the algorithms whose keys these profiles certify for encryption or key agreement, each once."""
    return _each_once(kind for one in profiles for kind in one.keys if encrypts(one, kind))


def encrypts(profile: Profile, kind: str) -> bool:
    """Tell whether a key of this kind is one to encrypt for, by the profile's keyUsage."""
    usages = _ENCRYPTING.get(kind.partition(":")[0], frozenset())
    return not usages.isdisjoint(profile.key_usage)


def _each_once(kinds: Iterable[str]) -> tuple[AlgorithmIdentifier, ...]:
    return tuple(dict.fromkeys(algorithm_of(kind) for kind in kinds))
