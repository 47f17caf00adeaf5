"""The explicit trust anchors: authorities of third parties whose certificates may enrol by a profile.

They are kept apart from the authorities of this installation: TLS takes certificates of both, and what one
of a third party opens is what the profiles that name its issuer say, nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.errors import ConfigError, Finding
from config.profile import Profile
from pkiserver.file_stamp import FileStamp, file_stamp
from pkiserver.ra.issuer_crls import CRLs, newest, read_crls

MAX_FILE_BYTES: Final = 4 * 1024 * 1024  # a CRL of some 70,000 entries
_RULE: Final = "a PEM file of CA certificates and their CRLs, relative to the home folder"


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, in one piece: nobody meets an issuer without its CRL while files are read anew."""

    by_profile: Mapping[str, tuple[x509.Certificate, ...]] = field(default_factory=dict)
    crls: CRLs = field(default_factory=dict)


class TrustedIssuers:
    """The certificates, and their CRLs, in the files that `trusted_issuers` of the profiles name."""

    def __init__(self, home: Path, profiles: Mapping[str, Profile]) -> None:
        self._home = home
        self._files = {name: profile.trusted_issuers for name, profile in profiles.items()}
        self._read = _Read()
        self._stamps: dict[str, FileStamp] = {}

    def load(self) -> None:
        """Read every file anew; `ConfigError` with all that is wrong, and then what was read before stays."""
        stamps = self._seen()
        findings: list[Finding] = []
        read: dict[str, tuple[x509.Certificate, ...]] = {}
        crls: list[CRLs] = []
        for profile, files in self._files.items():
            for file in files:
                try:
                    content = _content(self._home / file)
                    certificates = certificates_of_issuers(content)
                    crls.append(read_crls(content, certificates))
                    read[profile] = (*read.get(profile, ()), *certificates)
                except (OSError, ValueError) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    problem = f"{file!r}: {reason}"
                    findings.append(Finding(f"{profile}.toml", "trusted_issuers", problem, _RULE))
        self._stamps = stamps  # of a bad file, too: it is looked at again when it has changed
        if findings:
            raise ConfigError(findings)
        self._read = _Read(read, newest(crls))

    def changed(self) -> bool:
        """Return whether a file is not as it was when last read."""
        return self._seen() != self._stamps

    @property
    def ders(self) -> Sequence[bytes]:
        """Every certificate once, in DER."""
        return [one.public_bytes(Encoding.DER) for one in dict.fromkeys(self)]

    def __iter__(self) -> Iterator[x509.Certificate]:
        return (one for certificates in self._read.by_profile.values() for one in certificates)

    def of(self, profile: str) -> Sequence[x509.Certificate]:
        """Return the issuers that a profile trusts."""
        return self._read.by_profile.get(profile, ())

    def profiles(self, issuer: x509.Certificate) -> frozenset[str]:
        """Return the profiles that trust an issuer."""
        return frozenset(name for name, trusted in self._read.by_profile.items() if issuer in trusted)

    @property
    def crls(self) -> CRLs:
        """What the issuers have revoked; an issuer without a CRL is not in it."""
        return self._read.crls

    def _seen(self) -> dict[str, FileStamp]:
        return {file: file_stamp(self._home / file) for files in self._files.values() for file in files}


def ca_certificates(path: Path) -> Sequence[x509.Certificate]:
    """Return the CA certificates of a PEM file; `OSError`, and `ValueError` for all else that is wrong."""
    return certificates_of_issuers(_content(path))


def _content(path: Path) -> bytes:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES} bytes")
    return path.read_bytes()


def certificates_of_issuers(content: bytes) -> Sequence[x509.Certificate]:
    """Return the CA certificates in PEM; `ValueError` says what is wrong with them."""
    try:
        certificates = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ValueError("holds no certificates in PEM") from error
    for certificate in certificates:
        _require_authority(certificate)
    return certificates


def _require_authority(certificate: x509.Certificate) -> None:
    name = certificate.subject.rfc4514_string()
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError) as error:
        raise ValueError(f"{name} is no CA certificate (RFC 5280 §4.2.1.9)") from error
    if not constraints.ca:
        raise ValueError(f"{name} is no CA certificate (RFC 5280 §4.2.1.9)")
