"""The files that the HTTP side serves: CRLs, their compressed forms, certificates of authorities.

Each is replaced atomically. A compressed form belongs to the CRL beside it by the sign that both were changed
at the same nanosecond; it is made after the CRL is in place, for that is what matters.
"""

import hashlib
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ca.authorities import Authority
from pkiserver.ca.root_updates import RootUpdate
from pkiserver.home import PUBLIC_FILE_MODE, replaced_file
from protocols.x509.certs_only import certs_only

MIN_COMPRESSED: Final = 2048  # octets; below it nothing is won
CERTIFICATE_SUFFIXES: Final = (".cer", ".p7c", ".pem")
_LEVEL: Final = 1  # serials are random: more work makes it hardly smaller
_BLOCK: Final = 1 << 20
_GZIP: Final = 16 + zlib.MAX_WBITS  # RFC 1952, as zlib is told


def write_certificates(folder: Path, authorities: Iterable[Authority], updates: Iterable[RootUpdate]) -> None:
    """Put each authority's certificate where AIA points: DER, certs-only CMS (RFC 5280 §4.2.2.1) and PEM.

    The CMS of a root that changed its key holds the links too. All certificates in PEM are in `chain.pem`,
    for people and their tools.
    """
    chain, changes = b"", list(updates)
    for authority in authorities:
        pem = authority.certificate.public_bytes(Encoding.PEM)
        chain += pem
        links = [link for one in changes if authority.certificate in (one.old, one.new) for link in one.links]
        forms = (authority.der, certs_only([authority.der, *links]), pem)
        for suffix, content in zip(CERTIFICATE_SUFFIXES, forms, strict=True):
            _replace(folder / f"{authority.handle}{suffix}", content)
    _replace(folder / "chain.pem", chain)


def write_crl(path: Path, pieces: Sequence[bytes]) -> None:
    """Put a CRL where it is served."""
    with replaced_file(path, PUBLIC_FILE_MODE) as file:
        file.writelines(pieces)


def compress_crl(path: Path) -> None:
    """Put the compressed form beside a CRL, where it is worth it."""
    compressed = _compressed_form(path)
    with path.open("rb") as crl:
        found = os.fstat(crl.fileno())
        if found.st_size < MIN_COMPRESSED:
            compressed.unlink(missing_ok=True)
            return
        with replaced_file(compressed, PUBLIC_FILE_MODE) as file:
            compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
            while block := crl.read(_BLOCK):
                file.write(compressor.compress(block))
            file.write(compressor.flush())
            file.flush()
            os.utime(file.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))


def write_page(folder: Path, page: str) -> None:
    """Put the page about CRLs beside them."""
    _replace(folder / "index.html", page.encode())


def remove_crl(path: Path) -> None:
    """Serve a CRL no more, where it was served."""
    path.unlink(missing_ok=True)
    _compressed_form(path).unlink(missing_ok=True)


def holds(path: Path, sha256: bytes) -> bool:
    """Return whether a file is there and has this SHA-256."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == sha256
    except FileNotFoundError:
        return False


def _compressed_form(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def _replace(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        with replaced_file(path, PUBLIC_FILE_MODE) as file:
            file.write(content)
