"""Certificates as a certs-only CMS message (RFC 5652 §5): EST answers with it; at AIA it is the file .p7c."""

from collections.abc import Sequence

from protocols import oid
from protocols.asn1 import der
from protocols.cms.signed_data import SignedData
from protocols.errors import MalformedError


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
    return SignedData(oid.PKCS7_DATA, None, tuple(certificates)).to_content_info().encode()
