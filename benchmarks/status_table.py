"""A response table of any size to serve, and requests for what is in it."""

import base64
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiserver.signer.algorithms import signature_algorithm_for
from protocols.asn1 import der
from protocols.asn1.ocsp import Good
from protocols.ocsp.request import issuer_parts
from protocols.ocsp.response import ResponseTemplate
from protocols.x509.certificate import subject_public_key_bits
from store.response_entries import ResponderParts, ResponseEntry, response_key
from store.response_writer import ResponseTableWriter

AUTHORITY: Final = 1
RESPONDER: Final = 1
_BATCH: Final = 20_000


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer with its delegated responder, as the table and the requests need them."""

    parts: tuple[bytes, ...]
    template: ResponseTemplate
    responder: ResponderParts


def make_issuer() -> Issuer:
    """Return an issuer with a real responder certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Benchmark CA")])
    now = datetime.now(UTC).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=90))
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .sign(key, hashes.SHA256())
    )
    bits = subject_public_key_bits(
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return Issuer(
        issuer_parts(name.public_bytes(), bits),
        ResponseTemplate(bytes(20), name.public_bytes(), bits),
        ResponderParts(
            RESPONDER,
            signature_algorithm_for(key.public_key()).der,
            certificate.public_bytes(Encoding.DER),
        ),
    )


def serials(count: int) -> list[int]:
    """Return `count` serials as the server makes them, the same in every run."""
    source = random.Random(1)
    return [source.getrandbits(127) | 1 for _ in range(count)]


def fill(path: Path, issuer: Issuer, numbers: list[int]) -> None:
    """Make a table with a response for each serial. Serving does not look at signatures: they are octets."""
    writer = ResponseTableWriter(path)
    writer.put_responder(issuer.responder)
    for part in issuer.parts:
        writer.put_issuer(part, AUTHORITY)
    now = datetime.now(UTC).replace(microsecond=0)
    until = now + timedelta(days=2)
    signature = random.Random(2).randbytes(71)
    for start in range(0, len(numbers), _BATCH):
        writer.put(
            (
                response_key(AUTHORITY, der.integer_content(number)),
                ResponseEntry(
                    RESPONDER,
                    int(now.timestamp()),
                    int(until.timestamp()),
                    issuer.template.response_data(number, Good(), now, now, until),
                    signature,
                ).pack(),
            )
            for number in numbers[start : start + _BATCH]
        )
    writer.close()


def request(issuer: Issuer, serial: int) -> bytes:
    """Return the plain OCSPRequest by SHA-1 that most clients send."""
    return request_for(issuer.parts, serial)


def request_for(parts: Sequence[bytes], serial: int) -> bytes:
    """Return such a request for a certificate of an issuer with these parts of a CertID."""
    cert_id = der.encode(der.SEQUENCE, parts[0] + der.integer(serial))
    return der.sequence(der.sequence(der.sequence(der.sequence(cert_id))))


def request_path(issuer: Issuer, serial: int) -> str:
    """Return the path of the request by GET (RFC 6960 §A.1)."""
    return path_for(issuer.parts, serial)


def path_for(parts: Sequence[bytes], serial: int) -> str:
    """Return the path of a request as `request_for` makes it."""
    return "/ocsp/" + quote(base64.b64encode(request_for(parts, serial)), safe="")
