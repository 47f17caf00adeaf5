"""The transcript of a ceremony: who, when, and the hashes of all that was given, used and made."""

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
from cryptography.hazmat.primitives.hashes import SHA256

from config.ceremony import Ceremony
from pkiserver.ceremony.description import Field, described
from pkiserver.ceremony.inputs import CeremonyFile
from pkiserver.ceremony.quorum import OperatorRegister, RegisteredOperator
from pkiserver.ceremony.signed_once import SUFFIXES, Product
from pkiserver.clock import utc_text
from protocols.x509.names import subject_text

_PACKAGES: Final = ("cryptography", "python-pkcs11", "asn1crypto", "reportlab")
_SIGNED: Final = f"signature {'_' * 30}  date {'_' * 12}"
_OWN_PACKAGES: Final = ("config", "protocols", "pkiserver", "store")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its fields; `by_hand`: the people in it sign on paper."""

    title: str
    fields: tuple[Field, ...]
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class TranscriptFacts:
    """All that a transcript tells of, beside the file."""

    by: str
    begun_at: datetime
    ended_at: datetime
    register: OperatorRegister | None
    signed_by: Sequence[RegisteredOperator]
    products: Sequence[Product]
    taken_up: Sequence[str] = ()
    witness: x509.Certificate | None = None
    device: str | None = None


def sections(file: CeremonyFile, facts: TranscriptFacts) -> list[Section]:
    """Return the transcript; the same facts give the same words. Without a register it is a rehearsal's."""
    ceremony = file.ceremony
    what = [
        ("title", ceremony.title),
        ("kind", "REHEARSAL with keys that are thrown away" if facts.register is None else "ceremony"),
        ("file", file.path.name),
        ("SHA-256 of the file", file.sha256),
        ("begun", utc_text(facts.begun_at)),
        *(("taken up again", at) for at in facts.taken_up),
        ("ended", utc_text(facts.ended_at)),
        ("performed by", facts.by),
        ("keys in", ceremony.store.uri or f"software, {ceremony.store.folder}"),
        *([("device", facts.device)] if facts.device is not None else []),
        *(
            (f"key {label}", f"{key.kind}{', existing' if key.existing else ''}")
            for label, key in ceremony.keys.items()
        ),
    ]
    found = [
        Section("Ceremony", tuple(what)),
        Section("Quorum", tuple(_quorum(facts))),
        Section("Independent witness", tuple(_witness(file, facts))),
        Section("Program", (*_program(), *_profiles(file))),
        *(
            Section(f"{product.kind} {product.name}{SUFFIXES[product.kind]}", tuple(described(product)))
            for product in facts.products
        ),
        Section("Signed by hand", tuple((name, _SIGNED) for name in _present(ceremony)), by_hand=True),
    ]
    return [_shown(section) for section in found]


def _shown(section: Section) -> Section:
    """Return a section with each text on one line and nothing in it that hides or turns others.

    Words of a file, or of a request from elsewhere, are not to pass for lines of the transcript.
    """
    fields = tuple((_printable(name), _printable(told)) for name, told in section.fields)
    return replace(section, fields=fields)


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def _present(ceremony: Ceremony) -> Iterator[str]:
    yield from ceremony.witnesses
    if ceremony.witness is not None:
        yield f"{ceremony.witness.name}, {ceremony.witness.role}"


def _witness(file: CeremonyFile, facts: TranscriptFacts) -> Iterator[Field]:
    """Name who is to sign the report on a root's key besides (EN 319 411-1 §6.5.1, GEN-6.5.1-14)."""
    ceremony, named = file.ceremony, file.ceremony.witness
    if named is not None and facts.witness is not None:
        yield "name", named.name
        yield "role", named.role
        yield "certificate", subject_text(facts.witness.subject)
        yield "SHA-256 of the certificate", _sha256_of(facts.witness)
    elif any(not one.issuer for one in ceremony.certificates.values()):
        yield "name", "none, and a root is made: EN 319 411-1, GEN-6.5.1-14 asks for one"
    else:
        yield "name", "none"


def _profiles(file: CeremonyFile) -> Iterator[Field]:
    for name, source in file.ceremony.profiles.items():
        yield f"SHA-256 of profile {name}", source.sha256


def _sha256_of(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()


def _quorum(facts: TranscriptFacts) -> Iterator[Field]:
    if facts.register is None:
        yield "quorum", "not asked for in a rehearsal"
        return
    yield "needed", f"{facts.register.quorum} of {len(facts.register.operators)}"
    yield "SHA-256 of the register", facts.register.sha256
    for operator in facts.signed_by:
        yield f"signed by {operator.name}", operator.fingerprint
    if facts.register.issuers is None:
        yield "revocation", "not looked at: the register names no issuers"
        return
    for issuer, at in facts.register.issuers.texts():
        yield f"not revoked by {issuer}", f"by its CRL of {at}"


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
