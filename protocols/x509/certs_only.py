"""Certificates as a certs-only CMS message (RFC 5652 §5): EST answers with it; at AIA it is the file .p7c."""

from collections.abc import Sequence
from typing import Final

from protocols import oid
from protocols.asn1 import der
from protocols.errors import MalformedError

_CMS_VERSION: Final = 1  # RFC 5652 §5.1: X.509 certificates, id-data and no signer


def certs_only(certificates: Sequence[bytes]) -> bytes:
    """Return the DER ContentInfo of a SignedData that holds just these DER certificates (RFC 5652 §5).

    They stand in the order of a DER SET OF, not in that given. `MalformedError` when there is none, or
    one is not a single SEQUENCE.
    """
    if not certificates:
        raise MalformedError("a certs-only message must hold a certificate")
    for certificate in certificates:
        reader = der.Reader(certificate)
        reader.read(der.SEQUENCE)
        reader.finish()
    signed_data = der.sequence(
        der.integer(_CMS_VERSION),
        der.set_of(()),  # digestAlgorithms
        der.sequence(der.oid(oid.PKCS7_DATA)),  # encapContentInfo, without eContent
        der.encode(der.context(0), b"".join(sorted(certificates))),
        der.set_of(()),  # signerInfos
    )
    return der.sequence(der.oid(oid.PKCS7_SIGNED_DATA), der.explicit(0, signed_data))
