"""CertConfirmContent (RFC 9810 §5.3.18) and PKIConfirmContent (§5.3.17): how a transaction ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.numbers import parse_cert_req_id
from protocols.cmp.status import PKIStatusInfo

MAX_CERT_STATUSES: Final = 32  # as many as certificates in a response
PKI_CONFIRM: Final = der.null()


@dataclass(frozen=True, slots=True)
class CertStatus:
    """What a client says of one certificate; without `status_info` it accepts it.

    `hash_alg` is there only where the certificate's signature does not name a hash, in pvno 3.
    """

    cert_hash: bytes
    cert_req_id: int
    status_info: PKIStatusInfo | None = None
    hash_alg: AlgorithmIdentifier | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertStatus."""
        fields = reader.enter()
        cert_hash = fields.octet_string()
        cert_req_id = parse_cert_req_id(fields)
        status_info = PKIStatusInfo.parse(fields) if fields.peek() == der.SEQUENCE else None
        hash_alg = der.optional(fields, 0, AlgorithmIdentifier.parse)
        fields.finish()
        return cls(cert_hash, cert_req_id, status_info, hash_alg)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            der.octet_string(self.cert_hash),
            der.integer(self.cert_req_id),
            self.status_info.encode() if self.status_info else b"",
            der.explicit(0, self.hash_alg.encode()) if self.hash_alg else b"",
        )


def parse_cert_confirm(content_der: bytes) -> tuple[CertStatus, ...]:
    """Return the statuses of a DER CertConfirmContent; () rejects all certificates."""
    outer = Reader(content_der)
    statuses = der.repeated(
        outer.enter(), CertStatus.parse, at_most=MAX_CERT_STATUSES, what="statuses in a confirmation"
    )
    outer.finish()
    return statuses


def build_cert_confirm(statuses: Iterable[CertStatus]) -> bytes:
    """Return the DER of a CertConfirmContent."""
    return der.sequence(*(status.encode() for status in statuses))


def parse_pki_confirm(content_der: bytes) -> None:
    """Raise `MalformedError` where this is not the NULL of a PKIConfirmContent."""
    der.whole(content_der, Reader.null)
