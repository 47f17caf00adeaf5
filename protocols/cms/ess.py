"""What a signer says of its certificate and of the time: signed attributes (RFC 5035, RFC 5652 §11.3)."""

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier, Attribute, find_attribute
from protocols.cms.verification import digest_of
from protocols.errors import BadSignatureError, MalformedError

MAX_NAMED: Final = 8  # certificates of one signer's chain


def signing_time(attributes: Sequence[Attribute]) -> datetime:
    """Return signingTime (RFC 5652 §11.3); `MalformedError` where it is missing or no time."""
    found = find_attribute(tuple(attributes), oid.SIGNING_TIME)
    if found is None:
        raise MalformedError("signingTime is not among the signed attributes")
    return der.whole(found.single_value(), Reader.time)


def require_named(attributes: Sequence[Attribute], certificate: bytes) -> None:
    """Hold a signer to the certificate that signingCertificateV2 names first (RFC 5035 §3, §5.4.1).

    Nothing is asked where the attribute is absent. `BadSignatureError` where it names another certificate,
    by the hash alone: the issuer and serial beside it say no more than that.
    """
    found = find_attribute(tuple(attributes), oid.AA_SIGNING_CERTIFICATE_V2)
    if found is None:
        return
    algorithm, cert_hash = der.whole(found.single_value(), _first_named)
    if not hmac.compare_digest(digest_of(certificate, algorithm), cert_hash):
        raise BadSignatureError("signingCertificateV2 names another certificate than that of the signer")


def _first_named(reader: Reader) -> tuple[str, bytes]:
    fields = reader.enter()
    named = der.repeated(fields.enter(), _ess_cert_id, at_most=MAX_NAMED, what="certificates of a signer")
    if fields.peek() == der.SEQUENCE:
        fields.read(der.SEQUENCE)  # policies, deprecated
    fields.finish()
    if not named:
        raise MalformedError("signingCertificateV2 names no certificate")
    return named[0]


def _ess_cert_id(reader: Reader) -> tuple[str, bytes]:
    fields = reader.enter()
    algorithm = AlgorithmIdentifier.parse(fields).oid if fields.peek() == der.SEQUENCE else oid.SHA256
    cert_hash = fields.octet_string()
    if fields.peek() == der.SEQUENCE:
        fields.read(der.SEQUENCE)  # issuerSerial
    fields.finish()
    return algorithm, cert_hash
