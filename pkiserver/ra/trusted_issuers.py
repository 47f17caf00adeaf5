"""The explicit trust anchors: authorities of third parties whose certificates may enrol by a profile.

They are kept apart from the authorities of this installation: TLS takes certificates of both, and what one
of a third party opens is what the profiles that name its issuer say, nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.errors import ConfigError, Finding
from config.profile import Profile
from pkiserver.file_stamp import FileStamp, file_stamp

MAX_FILE_BYTES: Final = 256 * 1024
_RULE: Final = "a PEM file of CA certificates, relative to the home folder"


class TrustedIssuers:
    """The certificates in the files that `trusted_issuers` of the profiles name."""

    def __init__(self, home: Path, profiles: Mapping[str, Profile]) -> None:
        self._home = home
        self._files = {name: profile.trusted_issuers for name, profile in profiles.items()}
        self._by_profile: dict[str, tuple[x509.Certificate, ...]] = {}
        self._stamps: dict[str, FileStamp] = {}

    def load(self) -> None:
        """Read every file anew; `ConfigError` with all that is wrong, and then what was read before stays."""
        stamps = self._seen()
        findings: list[Finding] = []
        read: dict[str, tuple[x509.Certificate, ...]] = {}
        for profile, files in self._files.items():
            for file in files:
                try:
                    read[profile] = (*read.get(profile, ()), *ca_certificates(self._home / file))
                except (OSError, ValueError) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    problem = f"{file!r}: {reason}"
                    findings.append(Finding(f"{profile}.toml", "trusted_issuers", problem, _RULE))
        self._stamps = stamps  # of a bad file, too: it is looked at again when it has changed
        if findings:
            raise ConfigError(findings)
        self._by_profile = read

    def changed(self) -> bool:
        """Return whether a file is not as it was when last read."""
        return self._seen() != self._stamps

    @property
    def ders(self) -> Sequence[bytes]:
        """Every certificate once, in DER."""
        return [one.public_bytes(Encoding.DER) for one in dict.fromkeys(self)]

    def __iter__(self) -> Iterator[x509.Certificate]:
        return (one for certificates in self._by_profile.values() for one in certificates)

    def of(self, profile: str) -> Sequence[x509.Certificate]:
        """Return the issuers that a profile trusts."""
        return self._by_profile.get(profile, ())

    def profiles(self, issuer: x509.Certificate) -> frozenset[str]:
        """Return the profiles that trust an issuer."""
        return frozenset(name for name, trusted in self._by_profile.items() if issuer in trusted)

    def _seen(self) -> dict[str, FileStamp]:
        return {file: file_stamp(self._home / file) for files in self._files.values() for file in files}


def ca_certificates(path: Path) -> Sequence[x509.Certificate]:
    """Return the CA certificates of a PEM file; `OSError`, and `ValueError` for all else that is wrong."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
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
