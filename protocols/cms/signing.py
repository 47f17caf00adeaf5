"""SignedData built in two steps, since keys are elsewhere: what to sign, then the message (RFC 5652 §5)."""

from collections.abc import Sequence
from datetime import datetime

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier, Attribute
from protocols.cms.content_info import CertificateIdentifier
from protocols.cms.signed_data import SignedData, SignerInfo
from protocols.cms.verification import digest_of


def signed_attributes(
    content_type: str, content: bytes, *, digest_algorithm: str, signing_time: datetime
) -> bytes:
    """Return the octets to be signed: the DER SET OF contentType, signingTime and messageDigest (§5.4, §11).

    `BadSignatureError` for a digest algorithm other than SHA-256, SHA-384 and SHA-512.
    """
    digest = digest_of(content, digest_algorithm)
    attributes = (
        Attribute(oid.CONTENT_TYPE, (der.oid(content_type),)),
        Attribute(oid.SIGNING_TIME, (der.time(signing_time),)),
        Attribute(oid.MESSAGE_DIGEST, (der.octet_string(digest),)),
    )
    return der.set_of(attribute.encode() for attribute in attributes)


def assemble(
    content_type: str,
    content: bytes,
    attributes: bytes,
    *,
    signer: CertificateIdentifier,
    digest_algorithm: str,
    signature_algorithm: bytes,
    signature: bytes,
    certificates: Sequence[bytes],
) -> bytes:
    """Return the DER ContentInfo of a SignedData with one signer, from what `signed_attributes` returned.

    `signature_algorithm` is a DER AlgorithmIdentifier; `certificates` are DER, in any order.
    """
    reader = der.Reader(attributes)
    signer_info = SignerInfo(
        sid=signer,
        digest_algorithm=AlgorithmIdentifier(digest_algorithm),  # RFC 5754 §2: parameters are left out
        signed_attributes=der.repeated(reader.enter(der.SET), Attribute.parse, at_most=3, what="attributes"),
        signed_octets=attributes,
        signature_algorithm=der.whole(signature_algorithm, AlgorithmIdentifier.parse),
        signature=signature,
    )
    signed_data = SignedData(content_type, content, tuple(certificates), (signer_info,))
    return signed_data.to_content_info().encode()
