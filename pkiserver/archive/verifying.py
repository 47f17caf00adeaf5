"""Whether a unit or a package in a folder is what was signed: signatures, hashes, nothing missing or added.

Needs no home. What a signature brings along is believed as far as the root that the caller trusts reaches.
"""

import hashlib
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from pkiserver.archive.manifest import (
    MANIFEST,
    MAX_MANIFEST_OCTETS,
    PACKAGE,
    SIGNATURES,
    Manifest,
    parse_manifest,
)
from pkiserver.errors import RefusedError
from pkiserver.progress import Progress
from protocols.cms.content_info import read_content_info
from protocols.cms.signed_data import SignedData
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.errors import ProtocolError
from protocols.x509.spki import read_public_key

MAX_SIGNATURE_OCTETS: Final = 64 * 1024
MAX_FILE_OCTETS: Final = 64 << 20
_MAX_CHAIN: Final = 5
_UNREADABLE: Final = (UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_SIGNER: Final = re.compile(r"CN=Archive [0-9]{1,9}")


class ArchiveError(RefusedError):
    """A folder that is not what was signed; the message begins with the name of the first bad file."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a folder holds."""

    kind: str
    number: int
    made_at: str
    units: int
    files: int


def verify_folder(folder: Path, root: x509.Certificate, progress: Progress) -> Verified:
    """Check a unit or a package to its last octet; `ArchiveError` names the first file that is wrong."""
    if (folder / MANIFEST).exists():
        manifest = verify_unit(folder, root, "")
        return Verified("unit", manifest.number, manifest.made_at, 1, len(manifest.sha256))
    package = _signed(folder, PACKAGE, root, "")
    if package.kind != "package":
        raise ArchiveError(f"{PACKAGE}: it is no manifest of a package")
    _require_exactly(folder, {PACKAGE, SIGNATURES[PACKAGE], *package.sha256}, "")
    files = 0
    for done, (name, digest) in enumerate(sorted(package.sha256.items()), start=1):
        content = _read(folder / name / MANIFEST, f"{name}/{MANIFEST}", MAX_MANIFEST_OCTETS)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArchiveError(f"{name}/{MANIFEST}: it is not the one of the package")
        files += len(verify_unit(folder / name, root, f"{name}/").sha256)
        progress("units", done, len(package.sha256))
    return Verified("package", package.number, package.made_at, len(package.sha256), files)


def verify_unit(folder: Path, root: x509.Certificate, prefix: str) -> Manifest:
    """Check one unit; names in errors begin with `prefix`."""
    manifest = _signed(folder, MANIFEST, root, prefix)
    if manifest.kind != "unit":
        raise ArchiveError(f"{prefix}{MANIFEST}: it is no manifest of a unit")
    _require_exactly(folder, {MANIFEST, SIGNATURES[MANIFEST], *manifest.sha256}, prefix)
    for name, digest in sorted(manifest.sha256.items()):
        content = _read(folder / name, f"{prefix}{name}", MAX_FILE_OCTETS)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArchiveError(f"{prefix}{name}: its octets are not those that were signed")
    return manifest


def verify_signature(content: bytes, signature: bytes, root: x509.Certificate, name: str) -> None:
    """Check a detached signature of an archive signer below `root`; `ArchiveError` names the file."""
    try:
        message = SignedData.from_content_info(read_content_info(signature))
        if message.content is not None or len(message.signer_infos) != 1:
            raise ArchiveError(f"{name}: it is no detached signature of one signer")
        (signer_info,) = message.signer_infos
        named = signer_certificate(message, signer_info)
        if named is None:
            raise ArchiveError(f"{name}: the certificate of its signer is not in it")
        certificates = [x509.load_der_x509_certificate(one) for one in message.certificates]
        signer = x509.load_der_x509_certificate(named)
        _require_archive_signer(signer, certificates, root, name)
        spki = signer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        verify_signer(replace(message, content=content), signer_info, read_public_key(spki))
    except (ProtocolError, ValueError, *_UNREADABLE) as error:
        raise ArchiveError(f"{name}: the signature is wrong: {error}") from error


def _signed(folder: Path, name: str, root: x509.Certificate, prefix: str) -> Manifest:
    content = _read(folder / name, prefix + name, MAX_MANIFEST_OCTETS)
    signature_name = prefix + SIGNATURES[name]
    signature = _read(folder / SIGNATURES[name], signature_name, MAX_SIGNATURE_OCTETS)
    verify_signature(content, signature, root, signature_name)
    try:
        return parse_manifest(content)
    except ArchiveError:
        raise
    except RefusedError as error:
        raise ArchiveError(f"{prefix}{name}: {error}") from error


def _require_archive_signer(
    signer: x509.Certificate, certificates: list[x509.Certificate], root: x509.Certificate, name: str
) -> None:
    """The authority that issued it gives others a purpose; this one has none, and a name of its own."""
    has_purpose = any(one.oid == ExtensionOID.EXTENDED_KEY_USAGE for one in signer.extensions)
    if has_purpose or _SIGNER.fullmatch(signer.subject.rfc4514_string()) is None:
        raise ArchiveError(f"{name}: its signer is none of archive units")
    current = signer
    for _ in range(_MAX_CHAIN):
        issuer = _issuer_of(current, [root, *certificates])
        if issuer is None:
            break
        if issuer == root:
            return
        current = issuer
    raise ArchiveError(f"{name}: its signer's certificate does not lead to the root that is trusted")


def _issuer_of(certificate: x509.Certificate, known: list[x509.Certificate]) -> x509.Certificate | None:
    for issuer in known:
        try:
            certificate.verify_directly_issued_by(issuer)
            constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound, *_UNREADABLE):
            continue
        if constraints.ca and issuer != certificate:
            return issuer
    return None


def _require_exactly(folder: Path, names: AbstractSet[str], prefix: str) -> None:
    found = {one.name for one in folder.iterdir()}
    for name in sorted(names - found):
        raise ArchiveError(f"{prefix}{name}: it is missing")
    for name in sorted(found - names):
        raise ArchiveError(f"{prefix}{name[:100]}: it was added")


def _read(path: Path, name: str, most: int) -> bytes:
    """Return a file of a bounded size; a link is none, since it leads out of what is handed over."""
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise ArchiveError(f"{name}: it is missing, or no file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ArchiveError(f"{name}: it is longer than anything that is handed over")
    return content
