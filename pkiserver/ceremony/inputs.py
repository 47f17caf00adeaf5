"""What a ceremony is given: its file, and the files that it names, each held to its reviewed SHA-256."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from config.ceremony import Ceremony, Input, parse_ceremony
from pkiserver.errors import RefusedError
from protocols.x509.names import subject_text

MAX_FILE_OCTETS: Final = 1 << 20  # a ceremony's file, a request, a certificate, a signature
MAX_FONT_OCTETS: Final = 32 << 20  # one with the letters of many languages
MAX_TRANSCRIPT_OCTETS: Final = 32 << 20  # its PDF


@dataclass(frozen=True, slots=True)
class CeremonyFile:
    """A ceremony's file: where it is, the octets that were reviewed and signed, and what they say."""

    path: Path
    content: bytes
    ceremony: Ceremony

    @property
    def sha256(self) -> str:
        """The SHA-256 of the octets, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    def at(self, path: Path) -> Path:
        """Return a path that the file names: a relative one begins at the file's folder."""
        return self.path.parent / path


def read_ceremony(path: Path) -> CeremonyFile:
    """Return a ceremony's file, read once: what was signed is what is parsed. `ConfigError`."""
    content = read_bounded(path)
    return CeremonyFile(path, content, parse_ceremony(content, path.name))


def read_bounded(path: Path, limit: int = MAX_FILE_OCTETS) -> bytes:
    """Return what is in a file; `RefusedError` where it is too long."""
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise RefusedError(f"{path} is too long for a file of a ceremony")
    return content


def read_certificate(file: CeremonyFile, source: Input) -> x509.Certificate:
    """Return the certificate in a named file; `RefusedError` where it is none, or not the reviewed one."""
    return certificate_in(read_reviewed(file, source), source.file)


def certificate_in(content: bytes, path: Path) -> x509.Certificate:
    """Return the certificate in some octets, PEM or DER; `RefusedError` where it is none that is usable."""
    try:
        if content.lstrip().startswith(b"-----"):
            certificate = x509.load_pem_x509_certificate(content)
        else:
            certificate = x509.load_der_x509_certificate(content)
        certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(f"{path} holds no certificate that is understood") from error
    return certificate


def read_request(file: CeremonyFile, source: Input) -> x509.CertificateSigningRequest:
    """Return the request in a named file, signed by its own key; `RefusedError` as for certificates."""
    content = read_reviewed(file, source)
    try:
        if content.lstrip().startswith(b"-----"):
            request = x509.load_pem_x509_csr(content)
        else:
            request = x509.load_der_x509_csr(content)
        proven = request.is_signature_valid
        request.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(f"{source.file} holds no request that is understood") from error
    if not proven:
        raise RefusedError(f"{source.file} is not signed by the key that it is for (RFC 2986 §3)")
    return request


def read_crl(file: CeremonyFile, source: Input, issuer: x509.Certificate) -> x509.CertificateRevocationList:
    """Return the CRL in a named file, one with a number and signed by its issuer; `RefusedError`."""
    content = read_reviewed(file, source)
    try:
        is_pem = content.lstrip().startswith(b"-----")
        crl = x509.load_pem_x509_crl(content) if is_pem else x509.load_der_x509_crl(content)
        crl.extensions.get_extension_for_class(x509.CRLNumber)
        signed = crl.issuer == issuer.subject and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # a CA's key signs
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
        raise RefusedError(f"{source.file} holds no CRL that is understood") from error
    if not signed:
        raise RefusedError(f"{source.file} is not signed by {subject_text(issuer.subject)}")
    return crl


def read_reviewed(file: CeremonyFile, source: Input, limit: int = MAX_FILE_OCTETS) -> bytes:
    """Return what is in a named file; `RefusedError` where it is too long, or not what was reviewed."""
    content = read_bounded(file.at(source.file), limit)
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise RefusedError(f"{source.file} is not the file that was reviewed: its SHA-256 is another")
    return content
