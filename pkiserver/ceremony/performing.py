"""Performs a ceremony, or rehearses one: the order of its steps, and the files that come of it."""

import os
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from config.profile import Profile
from pkiserver.ceremony.inputs import CeremonyFile
from pkiserver.ceremony.journal import Journal
from pkiserver.ceremony.keys import CeremonyKeys, opened_store, throw_away_store
from pkiserver.ceremony.pdf import as_pdf
from pkiserver.ceremony.products import SUFFIXES, Product, Products
from pkiserver.ceremony.quorum import OperatorRegister, check_quorum
from pkiserver.ceremony.transcript import Section, TranscriptFacts, as_text, sections, signature_over
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError
from pkiserver.home import PRIVATE_FILE_MODE, sync_folder

TRANSCRIPT: Final = "transcript"
Tell = Callable[[Product], None]


@dataclass(frozen=True, slots=True)
class Approval:
    """The register of operators, and their signatures over the ceremony's file."""

    register: OperatorRegister
    signatures: Sequence[bytes]


def rehearse(
    file: CeremonyFile, profiles: Mapping[str, Profile], by: str, clock: Clock, tell: Tell
) -> list[Section]:
    """Make everything with keys that are thrown away, and return what the transcript would say.

    Touches no key, no token and no folder. What depends on keys and serial numbers is another each time.
    """
    ceremony = file.ceremony
    with ExitStack() as stack:
        store = stack.enter_context(throw_away_store(ceremony.keys))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
        journal = stack.enter_context(Journal(folder / "journal", file.sha256, clock.now()))
        keys = CeremonyKeys(store, ceremony.keys, journal)
        products = Products(file, profiles, keys, journal, rehearsal=True)
        products.check()
        made = products.make(tell)
        facts = TranscriptFacts(by, journal.begun_at, clock.now(), None, (), made)
        return sections(file, facts)


def perform(
    file: CeremonyFile,
    profiles: Mapping[str, Profile],
    approval: Approval,
    folder: Path,
    by: str,
    clock: Clock,
    tell: Tell,
) -> list[Section]:
    """Make everything, once; write it and the signed transcript into a folder; return the transcript.

    The operators' signatures are checked before the key store is opened, and everything that can be before
    the first key is made. One that was cut short is taken up where it ended. Raises `NotAuthorizedError`,
    `ConflictError`, `RefusedError`, `SignerError`, `OSError`.
    """
    signed_by = check_quorum(file.content, approval.signatures, approval.register, clock.now())
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(folder, file.sha256, clock.now()))
        store = stack.enter_context(opened_store(file))
        keys = CeremonyKeys(store, file.ceremony.keys, journal)
        products = Products(file, profiles, keys, journal, rehearsal=False)
        products.check()
        keys.check()

        def keep(product: Product) -> None:
            _write(folder / f"{product.name}{SUFFIXES[product.kind]}", product.der)
            tell(product)

        made = products.make(keep)
        facts = TranscriptFacts(by, journal.begun_at, clock.now(), approval.register, signed_by, made)
        found = sections(file, facts)
        _write_transcript(folder, file, found, products, keys, journal, facts)
    return found


def _write_transcript(
    folder: Path,
    file: CeremonyFile,
    found: Sequence[Section],
    products: Products,
    keys: CeremonyKeys,
    journal: Journal,
    facts: TranscriptFacts,
) -> None:
    """Write text and PDF with their signatures; a transcript that is whole is left as it is."""
    certificate, label, public_key = products.signer()
    named = file.ceremony.transcript.font
    font = file.at(named) if named is not None else None
    forms = {
        f"{TRANSCRIPT}.txt": as_text(found).encode(),
        f"{TRANSCRIPT}.pdf": as_pdf(found, file.ceremony.title, file.sha256, font),
    }
    for name, content in forms.items():
        content = journal.done(TRANSCRIPT, name) or _noted(journal, name, content)
        _write(folder / name, content)
        signed = f"{name}.p7s"
        signature = journal.done(TRANSCRIPT, signed)
        if signature is None:
            made = signature_over(content, certificate, label, public_key, keys, facts.ended_at)
            signature = _noted(journal, signed, made)
        _write(folder / signed, signature)


def _noted(journal: Journal, name: str, content: bytes) -> bytes:
    journal.finish(TRANSCRIPT, name, content)
    return content


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
