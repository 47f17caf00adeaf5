"""The transcript of a ceremony: who, when, and the hashes of all that was given, used and made; signed."""

import hashlib
import platform
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ceremony.description import Field, described
from pkiserver.ceremony.inputs import CeremonyFile
from pkiserver.ceremony.keys import CeremonyKeys
from pkiserver.ceremony.products import SUFFIXES, Product
from pkiserver.ceremony.quorum import OperatorRegister, RegisteredOperator
from pkiserver.clock import utc_text
from pkiserver.signer.algorithms import SigningPublicKey, signature_algorithm_for
from protocols import oid
from protocols.cms.content_info import IssuerAndSerialNumber, read_content_info
from protocols.cms.signed_data import SignedData
from protocols.cms.signing import assemble, signed_attributes

_PACKAGES: Final = ("cryptography", "python-pkcs11", "asn1crypto", "reportlab")
# The hash of the signature, for OpenSSL takes it from there; Ed25519 has SHA-512 (RFC 8419 §3.1).
_DIGESTS: Final = {"sha256": oid.SHA256, "sha384": oid.SHA384, "sha512": oid.SHA512, "": oid.SHA512}
_OWN_PACKAGES: Final = ("config", "protocols", "pkiserver", "store")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its fields."""

    title: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class TranscriptFacts:
    """All that a transcript tells of, beside the file."""

    by: str
    begun_at: datetime
    ended_at: datetime
    register: OperatorRegister | None
    signed_by: Sequence[RegisteredOperator]
    products: Sequence[Product]


def sections(file: CeremonyFile, facts: TranscriptFacts) -> list[Section]:
    """Return the transcript; the same facts give the same words. Without a register it is a rehearsal's."""
    ceremony = file.ceremony
    what = [
        ("title", ceremony.title),
        ("kind", "REHEARSAL with keys that are thrown away" if facts.register is None else "ceremony"),
        ("file", file.path.name),
        ("SHA-256 of the file", file.sha256),
        ("begun", utc_text(facts.begun_at)),
        ("ended", utc_text(facts.ended_at)),
        ("performed by", facts.by),
        ("keys in", ceremony.store.uri or f"software, {ceremony.store.folder}"),
        *(
            (f"key {label}", f"{key.kind}{', existing' if key.existing else ''}")
            for label, key in ceremony.keys.items()
        ),
    ]
    return [
        Section("Ceremony", tuple(what)),
        Section("Quorum", tuple(_quorum(facts))),
        Section("Program", tuple(_program())),
        *(
            Section(f"{product.kind} {product.name}{SUFFIXES[product.kind]}", tuple(described(product)))
            for product in facts.products
        ),
        Section("Witnesses", tuple((name, "_" * 40) for name in ceremony.witnesses)),
    ]


def _quorum(facts: TranscriptFacts) -> Iterator[Field]:
    if facts.register is None:
        yield "quorum", "not asked for in a rehearsal"
        return
    yield "needed", f"{facts.register.quorum} of {len(facts.register.operators)}"
    yield "SHA-256 of the register", facts.register.sha256
    for operator in facts.signed_by:
        yield f"signed by {operator.name}", operator.fingerprint


def _program() -> Iterator[Field]:
    yield "pkiserver", version("pkiserver")
    yield "SHA-256 of the program", program_sha256()
    yield "Python", platform.python_version()
    for name in _PACKAGES:
        yield name, version(name)
    yield "OpenSSL of Python", ssl.OPENSSL_VERSION
    yield "machine", f"{platform.system()} {platform.release()} {platform.machine()}"


def program_sha256() -> str:
    """Return the SHA-256 over all modules of this program: their names, lengths and octets, in order."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    paths = (path for package in _OWN_PACKAGES for path in (root / package).rglob("*.*"))
    for path in sorted(path for path in paths if path.suffix in (".py", ".sql", ".toml")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def as_text(found: Sequence[Section]) -> str:
    """Return the transcript as text."""
    lines: list[str] = []
    for section in found:
        lines += [section.title, "=" * len(section.title)]
        width = max((len(name) for name, _ in section.fields), default=0)
        lines += [f"{name:<{width}}  {value}" for name, value in section.fields]
        lines.append("")
    return "\n".join(lines)


def signature_over(
    content: bytes,
    certificate: x509.Certificate,
    label: str,
    public_key: SigningPublicKey,
    keys: CeremonyKeys,
    now: datetime,
) -> bytes:
    """Return a detached CMS signature over a transcript (RFC 5652 §5), DER."""
    digest_algorithm = _DIGESTS[getattr(signature_algorithm_for(public_key).hash, "name", "")]
    attributes = signed_attributes(
        oid.PKCS7_DATA, content, digest_algorithm=digest_algorithm, signing_time=now
    )
    message = assemble(
        oid.PKCS7_DATA,
        content,
        attributes,
        signer=IssuerAndSerialNumber(certificate.issuer.public_bytes(), certificate.serial_number),
        digest_algorithm=digest_algorithm,
        signature_algorithm=signature_algorithm_for(public_key).der,
        signature=keys.sign(label, attributes),
        certificates=[certificate.public_bytes(Encoding.DER)],
    )
    return _detached(message)


def _detached(message: bytes) -> bytes:
    """Return a message without its content, which stands in a file of its own (RFC 5652 §5.2)."""
    signed = SignedData.from_content_info(read_content_info(message))
    return replace(signed, content=None).to_content_info().encode()
