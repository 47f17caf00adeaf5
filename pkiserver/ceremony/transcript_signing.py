"""Signs the transcript of a ceremony by a key of that ceremony, and tells its signature from another."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ceremony.detached import signers_of
from pkiserver.ceremony.journal import ALTERED
from pkiserver.ceremony.keys import CeremonyKeys
from pkiserver.errors import ConflictError
from pkiserver.signer.algorithms import SigningPublicKey, signature_algorithm_for
from protocols import oid
from protocols.cms.content_info import IssuerAndSerialNumber, read_content_info
from protocols.cms.signed_data import SignedData
from protocols.cms.signing import assemble, signed_attributes
from protocols.errors import ProtocolError

# The hash of the signature, for OpenSSL takes it from there; Ed25519 has SHA-512 (RFC 8419 §3.1).
_DIGESTS: Final = {"sha256": oid.SHA256, "sha384": oid.SHA384, "sha512": oid.SHA512, "": oid.SHA512}


@dataclass(frozen=True, slots=True)
class TranscriptSigner:
    """Who signs the transcript: the certificate, label and public part of a key of this ceremony."""

    certificate: x509.Certificate
    label: str
    public_key: SigningPublicKey
    keys: CeremonyKeys

    def sign(self, content: bytes, now: datetime) -> bytes:
        """Return a detached CMS signature over a transcript (RFC 5652 §5), DER."""
        certificate, algorithm = self.certificate, signature_algorithm_for(self.public_key)
        digest_algorithm = _DIGESTS[getattr(algorithm.hash, "name", "")]
        attributes = signed_attributes(
            oid.PKCS7_DATA, content, digest_algorithm=digest_algorithm, signing_time=now
        )
        message = assemble(
            oid.PKCS7_DATA,
            content,
            attributes,
            signer=IssuerAndSerialNumber(certificate.issuer.public_bytes(), certificate.serial_number),
            digest_algorithm=digest_algorithm,
            signature_algorithm=algorithm.der,
            signature=self.keys.sign(self.label, attributes),
            certificates=[certificate.public_bytes(Encoding.DER)],
        )
        return _detached(message)

    def check(self, content: bytes, signature: bytes) -> None:
        """Return where this key signed a transcript; `ConflictError` where somebody made it up."""
        try:
            signers_of(content, signature, [self.certificate])
        except ProtocolError as error:
            raise ConflictError(ALTERED) from error


def _detached(message: bytes) -> bytes:
    """Return a message without its content, which stands in a file of its own (RFC 5652 §5.2)."""
    signed = SignedData.from_content_info(read_content_info(message))
    return replace(signed, content=None).to_content_info().encode()
