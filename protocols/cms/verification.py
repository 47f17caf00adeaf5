"""Whether a signer of a SignedData signed its content (RFC 5652 §5.4, §5.6), and which certificate it names.

Whether that certificate is to be believed is the caller's matter.
"""

import hmac
from typing import Final

from cryptography.hazmat.primitives import hashes

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import (
    AlgorithmIdentifier,
    Attribute,
    find_attribute,
    find_extension,
    parse_extensions,
)
from protocols.cms.content_info import CertificateIdentifier, IssuerAndSerialNumber
from protocols.cms.signed_data import SignedData, SignerInfo
from protocols.errors import BadSignatureError, MalformedError, ProtocolError
from protocols.x509.certificate import TBSCertificate
from protocols.x509.signatures import verify_signature
from protocols.x509.spki import PublicKey

DIGESTS: Final[dict[str, hashes.HashAlgorithm]] = {
    oid.SHA256: hashes.SHA256(),
    oid.SHA384: hashes.SHA384(),
    oid.SHA512: hashes.SHA512(),
}
# RFC 5754 §3.2: a signer may name the key alone, and leave the hash to digestAlgorithm; OpenSSL does.
_RSA_BY_DIGEST: Final = {
    oid.SHA256: oid.SHA256_WITH_RSA,
    oid.SHA384: oid.SHA384_WITH_RSA,
    oid.SHA512: oid.SHA512_WITH_RSA,
}


def verify_signer(signed_data: SignedData, signer: SignerInfo, key: PublicKey) -> None:
    """Check that `signer` signed the content with `key`.

    `BadSignatureError` where it did not, by weak or unknown algorithms, and without content or signed
    attributes: a signature over bare content could be one over attributes, taken for content (RFC 5652 §5.3
    has them be present wherever the content is not id-data). `MalformedError` where attributes are not as
    RFC 5652 §11 asks.
    """
    if signed_data.content is None or not signer.signed_attributes:
        raise BadSignatureError("the message has no content, or its signer no signed attributes")
    attributes = signer.signed_attributes
    if len({attribute.attr_type for attribute in attributes}) != len(attributes):
        raise MalformedError("a signed attribute is repeated")
    content_type = der.whole(_required(attributes, oid.CONTENT_TYPE), der.Reader.oid)
    if content_type != signed_data.content_type:
        raise BadSignatureError("the signed content type is not that of the content")
    message_digest = der.whole(_required(attributes, oid.MESSAGE_DIGEST), der.Reader.octet_string)
    if not hmac.compare_digest(message_digest, digest_of(signed_data.content, signer.digest_algorithm.oid)):
        raise BadSignatureError("the signed digest is not that of the content")
    algorithm = _signature_algorithm(signer)
    verify_signature(key, algorithm.encode(), signer.signed_octets, signer.signature)


def _required(attributes: tuple[Attribute, ...], attr_type: str) -> bytes:
    attribute = find_attribute(attributes, attr_type)
    if attribute is None:
        raise MalformedError("contentType or messageDigest is not among the signed attributes")
    return attribute.single_value()


def digest_of(content: bytes, digest_algorithm: str) -> bytes:
    """Return the digest of a content; `BadSignatureError` for other algorithms than those of SHA-2."""
    algorithm = DIGESTS.get(digest_algorithm)
    if algorithm is None:
        raise BadSignatureError("digests are taken with SHA-256, SHA-384 and SHA-512")
    context = hashes.Hash(algorithm)
    context.update(content)
    return context.finalize()


def _signature_algorithm(signer: SignerInfo) -> AlgorithmIdentifier:
    if signer.signature_algorithm.oid != oid.RSA_ENCRYPTION:
        return signer.signature_algorithm
    return AlgorithmIdentifier(_RSA_BY_DIGEST[signer.digest_algorithm.oid], der.null())


def signer_certificate(signed_data: SignedData, signer: SignerInfo) -> bytes | None:
    """Return the DER certificate in the message that the signer names, None where it is not there."""
    return next((one for one in signed_data.certificates if _is_named(one, signer.sid)), None)


def _is_named(certificate: bytes, sid: CertificateIdentifier) -> bool:
    try:
        tbs = TBSCertificate.of_certificate(certificate)
        if isinstance(sid, IssuerAndSerialNumber):
            return (tbs.issuer_der, tbs.serial_number) == (sid.issuer, sid.serial_number)
        extensions = der.whole(tbs.extensions_der, parse_extensions) if tbs.extensions_der else ()
        extension = find_extension(extensions, oid.SUBJECT_KEY_IDENTIFIER)
        return extension is not None and extension.value == der.octet_string(sid.key_identifier)
    except ProtocolError:
        return False  # a certificate that cannot be read is nobody's; others may be
