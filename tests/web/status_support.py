"""For the status tests: a small authority with its OCSP responder, and a table of responses it signed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pkiserver.clock import Clock
from protocols.asn1 import der
from protocols.asn1.ocsp import CertStatus, CRLReason, Good, RevokedInfo
from protocols.ocsp.request import issuer_parts
from protocols.ocsp.response import ResponseTemplate
from store.response_entries import ResponderParts, ResponseEntry, response_key
from store.response_writer import ResponseTableWriter

AUTHORITY = 3
RESPONDER = 9
GOOD, REVOKED, EXPIRED, ORPHANED, NEVER_ISSUED = 0x1234, 0x80AB, 0x5678, 0x4321, 0x7777
_ECDSA_WITH_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))


class SetClock(Clock):
    """Says what it was set to."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


@dataclass
class Hierarchy:
    """An authority, its responder and some certificates, valid around the present."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __post_init__(self) -> None:
        self.ca_key = ec.generate_private_key(ec.SECP256R1())
        self.responder_key = ec.generate_private_key(ec.SECP256R1())
        self.subject_key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Status Test CA")])
        self.ca = self._certificate("Status Test CA", self.ca_key, 1, ca=True)
        self.responder = self._certificate("Responder", self.responder_key, 2, responder=True)
        self.certificates = {
            serial: self._certificate(f"Subject {serial:x}", self.subject_key, serial)
            for serial in (GOOD, REVOKED, EXPIRED, ORPHANED, NEVER_ISSUED)
        }

    def _certificate(
        self,
        common_name: str,
        key: ec.EllipticCurvePrivateKey,
        serial: int,
        *,
        ca: bool = False,
        responder: bool = False,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if responder:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
            builder = builder.add_extension(x509.OCSPNoCheck(), False)
        return builder.sign(self.ca_key, hashes.SHA256())

    def fill(self, table: ResponseTableWriter) -> None:
        """Put issuers, responder and responses."""
        name_der, key_bits = self.ca.subject.public_bytes(), _key_bits(self.ca_key)
        for part in issuer_parts(name_der, key_bits):
            table.put_issuer(part, AUTHORITY)
        certificate = self.responder.public_bytes(serialization.Encoding.DER)
        table.put_responder(ResponderParts(RESPONDER, _ECDSA_WITH_SHA256, certificate))
        key_hash = hashes.Hash(hashes.SHA1())  # noqa: S303 - byKey is SHA-1 (RFC 6960 §4.2.1)
        key_hash.update(_key_bits(self.responder_key))
        template = ResponseTemplate(key_hash.finalize(), name_der, key_bits)
        hour = timedelta(hours=1)
        revoked = RevokedInfo(self.now - 5 * hour, CRLReason.KEY_COMPROMISE)
        self.put(table, template, GOOD, Good(), self.now - hour, self.now + 23 * hour)
        self.put(table, template, REVOKED, revoked, self.now - hour, self.now + 23 * hour)
        self.put(table, template, EXPIRED, Good(), self.now - 25 * hour, self.now - hour)
        self.put(table, template, ORPHANED, Good(), self.now - hour, self.now + hour, responder=RESPONDER + 1)

    def put(
        self,
        table: ResponseTableWriter,
        template: ResponseTemplate,
        serial: int,
        status: CertStatus,
        this_update: datetime,
        next_update: datetime,
        *,
        responder: int = RESPONDER,
    ) -> None:
        """Sign and put one response."""
        data = template.response_data(serial, status, this_update, this_update, next_update)
        signature = self.responder_key.sign(data, ec.ECDSA(hashes.SHA256()))
        entry = ResponseEntry(
            responder, int(this_update.timestamp()), int(next_update.timestamp()), data, signature
        )
        table.put([(response_key(AUTHORITY, der.integer_content(serial)), entry)])

    def request(
        self, *serials: int, algorithm: hashes.HashAlgorithm | None = None, nonce: bytes | None = None
    ) -> bytes:
        """Return a DER OCSPRequest; several serials need the codec, not cryptography's builder."""
        builder = ocsp.OCSPRequestBuilder()
        builder = builder.add_certificate(
            self.certificates[serials[0]],
            self.ca,
            algorithm or hashes.SHA256(),
        )
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        encoded = builder.build().public_bytes(serialization.Encoding.DER)
        if len(serials) == 1:
            return encoded
        return _joined([encoded, *(self.request(serial, algorithm=algorithm) for serial in serials[1:])])

    def write_pem(self, folder: Path) -> None:
        """Write `ca.pem` and `SERIAL.pem` for clients that read files."""
        pem = serialization.Encoding.PEM
        (folder / "ca.pem").write_bytes(self.ca.public_bytes(pem))
        for serial, certificate in self.certificates.items():
            (folder / f"{serial:x}.pem").write_bytes(certificate.public_bytes(pem))


def _joined(requests: list[bytes]) -> bytes:
    singles = b""
    for request in requests:
        request_list = der.Reader(request).enter().enter().enter()
        singles += request_list.read_raw(der.SEQUENCE)
    return der.sequence(der.sequence(der.encode(der.SEQUENCE, singles)))


def _key_bits(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
