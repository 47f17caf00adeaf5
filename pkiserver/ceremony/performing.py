"""Performs a ceremony, or rehearses one: the order of its steps, and the files that come of it."""

import os
import secrets
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pkiserver.ceremony.inputs import (
    MAX_FONT_OCTETS,
    MAX_TRANSCRIPT_OCTETS,
    CeremonyFile,
    read_bounded,
    read_reviewed,
)
from pkiserver.ceremony.journal import ALTERED, Journal
from pkiserver.ceremony.keys import CeremonyKeys, device_of, opened_store, throw_away_store
from pkiserver.ceremony.pdf import as_pdf
from pkiserver.ceremony.products import Products
from pkiserver.ceremony.profiles import ceremony_profiles
from pkiserver.ceremony.quorum import OperatorRegister, check_quorum
from pkiserver.ceremony.signed_once import SUFFIXES, Product
from pkiserver.ceremony.transcript import Section, TranscriptFacts, as_text, sections
from pkiserver.ceremony.transcript_signing import TranscriptSigner
from pkiserver.ceremony.witness import check_witnessed, witness_certificate
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError
from pkiserver.home import PRIVATE_FILE_MODE, sync_folder
from protocols.asn1 import der
from protocols.errors import ProtocolError

TRANSCRIPT: Final = "transcript"
Tell = Callable[[Product], None]


@dataclass(frozen=True, slots=True)
class Approval:
    """The register of operators, and their signatures over the ceremony's file."""

    register: OperatorRegister
    signatures: Sequence[bytes]


def rehearse(file: CeremonyFile, by: str, clock: Clock, tell: Tell) -> list[Section]:
    """Make everything with keys that are thrown away, and return what the transcript would say.

    Touches no key, no token and no folder. What depends on keys and serial numbers is another each time.
    """
    ceremony, profiles = file.ceremony, ceremony_profiles(file)
    witness = witness_certificate(file, (), clock.now())
    with ExitStack() as stack:
        store = stack.enter_context(throw_away_store(ceremony.keys))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
        journal = stack.enter_context(Journal(folder / "journal", file.sha256, clock.now()))
        keys = CeremonyKeys(store, ceremony.keys, journal)
        products = Products(file, profiles, keys, journal, rehearsal=True)
        products.check()
        made = products.make(tell)
        facts = TranscriptFacts(by, journal.begun_at, clock.now(), None, (), made, (), witness)
        found = sections(file, facts)
        as_pdf(found, ceremony.title, file.sha256, _font(file))  # a font that is none shows now, not then
        return found


def perform(
    file: CeremonyFile, approval: Approval, folder: Path, by: str, clock: Clock, tell: Tell
) -> list[Section]:
    """Make everything, once; write it and the signed transcript into a folder; return the transcript.

    The operators' signatures are checked before the key store is opened, and everything that can be before
    the first key is made. One that was cut short is taken up where it ended. Raises `NotAuthorizedError`,
    `ConflictError`, `RefusedError`, `SignerError`, `OSError`.
    """
    signed_by = check_quorum(file.content, approval.signatures, approval.register, clock.now())
    witness = witness_certificate(file, approval.register.operators, clock.now())
    profiles, font = ceremony_profiles(file), _font(file)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(folder, file.sha256, clock.now()))
        if journal.done(TRANSCRIPT, TRANSCRIPT) is None:
            journal.take_up(clock.now())
        store = stack.enter_context(opened_store(file))
        keys = CeremonyKeys(store, file.ceremony.keys, journal)
        products = Products(file, profiles, keys, journal, rehearsal=False)
        products.check()
        keys.check()

        def keep(product: Product) -> None:
            _write(folder / f"{product.name}{SUFFIXES[product.kind]}", product.der)
            tell(product)

        made = products.make(keep)
        facts = TranscriptFacts(
            by,
            journal.begun_at,
            clock.now(),
            approval.register,
            signed_by,
            made,
            journal.taken_up(),
            witness,
            device_of(store),
        )
        found = sections(file, facts)
        signer = TranscriptSigner(*products.signer(), keys)
        for name, content in _transcript(file, found, font, signer, journal, facts.ended_at).items():
            _write(folder / name, content)
    return found


def accept_witnessed(file: CeremonyFile, folder: Path, signature: bytes) -> Path:
    """Put the witness's signature over the PDF of a ceremony beside it; return its path.

    Raises as `check_witnessed` does, and `ConflictError` where another stands there.
    """
    transcript = folder / f"{TRANSCRIPT}.pdf"
    check_witnessed(file, read_bounded(transcript, MAX_TRANSCRIPT_OCTETS), signature)
    path = folder / f"{transcript.name}.witness.p7s"
    _write(path, signature)
    return path


def _font(file: CeremonyFile) -> bytes | None:
    named = file.ceremony.transcript.font
    return None if named is None else read_reviewed(file, named, MAX_FONT_OCTETS)


def _transcript(
    file: CeremonyFile,
    found: Sequence[Section],
    font: bytes | None,
    signer: TranscriptSigner,
    journal: Journal,
    now: datetime,
) -> dict[str, bytes]:
    """Return text and PDF with their signatures, by file name: those of the journal, or signed now.

    The key signs what was done, never what a journal says that it was to sign.
    """
    names = [f"{TRANSCRIPT}.{form}{suffix}" for form in ("txt", "pdf") for suffix in ("", ".p7s")]
    done = journal.done(TRANSCRIPT, TRANSCRIPT)
    if done is not None:
        files = _parts(done)
        signer.check(files[0], files[1])
        signer.check(files[2], files[3])
        return dict(zip(names, files, strict=True))
    text = as_text(found).encode()
    pdf = as_pdf(found, file.ceremony.title, file.sha256, font)
    files = [text, signer.sign(text, now), pdf, signer.sign(pdf, now)]
    journal.finish(TRANSCRIPT, TRANSCRIPT, der.sequence(*map(der.octet_string, files)))
    return dict(zip(names, files, strict=True))


def _parts(encoded: bytes) -> list[bytes]:
    try:
        outer = der.Reader(encoded)
        fields = outer.enter()
        outer.finish()
        files = [fields.octet_string() for _ in range(4)]
        fields.finish()
    except ProtocolError as error:
        raise ConflictError(ALTERED) from error
    return files


def _write(path: Path, content: bytes) -> None:
    """Write a new file, durably; one that is there must hold the same. `ConflictError` for another."""
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(hidden, path)
    except FileExistsError:
        if path.read_bytes() != content:
            raise ConflictError(
                f"{path} is there already, and is another file: nothing is overwritten"
            ) from None
    finally:
        hidden.unlink(missing_ok=True)
    sync_folder(path.parent)
