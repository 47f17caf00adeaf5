"""The civil registry as registration asks it: a port, and a file behind it for small installations.

By fingerprint it says who somebody is (regulation 2.3); the system keeps a reference and no biometrics. Where
that is impossible, the register number and the civil registration number are looked up (2.4).
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from pkiserver.errors import RefusedError, UnavailableError
from pkiserver.ra.registration.contacts import name_key, parse_line
from pkiserver.ra.registration.form import CivilData

MAX_REASON_CHARACTERS: Final = 200
MAX_REFERENCE_CHARACTERS: Final = 100
MAX_FILE_BYTES: Final = 64 << 20  # some hundred thousand people; more have a registry of their own


class ProofKind(Enum):
    """How the registrar identified a citizen."""

    FINGERPRINT = "fingerprint"
    REGISTER_NUMBERS = "register_numbers"


@dataclass(frozen=True, slots=True)
class IdentityProof:
    """How somebody was identified: the reference of a fingerprint's check, or why there is none."""

    kind: ProofKind
    text: str

    @classmethod
    def of(cls, kind: str, text: str) -> "IdentityProof":
        """Return a valid proof; `RefusedError` else."""
        try:
            known = ProofKind(kind)
        except ValueError as error:
            names = " or ".join(one.value for one in ProofKind)
            raise RefusedError(f"an identity is proved by {names}") from error
        most = MAX_REFERENCE_CHARACTERS if known is ProofKind.FINGERPRINT else MAX_REASON_CHARACTERS
        try:
            return cls(known, parse_line(text, most))
        except RefusedError as error:
            what = "the reference of the check" if known is ProofKind.FINGERPRINT else "a reason"
            raise RefusedError(f"proof by {known.value} needs {what}, 1 to {most} characters") from error


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class RegistryEntry:
    """What the civil registry says of a citizen."""

    register_number: str
    civil_id: str
    birth_date: date
    parent_name: str
    clan_name: str | None
    given_name: str
    entitled: bool  # alive, and a citizen (regulation 1.1)


class CivilRegistry(Protocol):
    """The port. Adapters bound their own time and raise `UnavailableError` where the registry is silent."""

    async def by_fingerprint(self, reference: str) -> RegistryEntry | None:
        """Return whom a check of fingerprints identified, None where it identified nobody."""

    async def by_numbers(self, register_number: str, civil_id: str) -> RegistryEntry | None:
        """Return the citizen who has both numbers, or None."""

    async def close(self) -> None:
        """Let go of what is open; nothing is asked afterwards."""


async def look_up(registry: CivilRegistry, proof: IdentityProof, form: CivilData) -> RegistryEntry | None:
    """Return what the registry says of who applied, by the kind of the proof."""
    if proof.kind is ProofKind.FINGERPRINT:
        return await registry.by_fingerprint(proof.text)
    return await registry.by_numbers(form.register_number, form.civil_id)


def differing_fields(form: CivilData, entry: RegistryEntry | None) -> tuple[str, ...]:
    """Return the fields in which form and registry differ, in the order of the form (regulation 2.10).

    Names are compared without regard to capitals. `citizenship`: no living citizen (regulation 1.1).
    """
    if entry is None:
        return ("register_number", "civil_id")
    differing = [
        field
        for field in ("register_number", "civil_id", "birth_date")
        if getattr(form, field) != getattr(entry, field)
    ]
    differing += [
        field
        for field in ("parent_name", "clan_name", "given_name")
        if name_key(getattr(form, field) or "") != name_key(getattr(entry, field) or "")
    ]
    return (*differing, *(() if entry.entitled else ("citizenship",)))


class FileRegistry:
    """A registry in a file of JSON lines, one citizen each; it is read again when it has changed.

    A line has the fields of `RegistryEntry`, and `fingerprints`, a list of references.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._reading = asyncio.Lock()
        self._by_numbers: Mapping[tuple[str, str], RegistryEntry] = {}
        self._by_fingerprint: Mapping[str, RegistryEntry] = {}

    async def by_fingerprint(self, reference: str) -> RegistryEntry | None:
        """See `CivilRegistry`."""
        await self._refresh()
        return self._by_fingerprint.get(reference)

    async def by_numbers(self, register_number: str, civil_id: str) -> RegistryEntry | None:
        """See `CivilRegistry`."""
        await self._refresh()
        return self._by_numbers.get((register_number, civil_id))

    async def close(self) -> None:
        """See `CivilRegistry`; nothing stays open."""

    async def _refresh(self) -> None:
        """Read the file again where it is not the one that was read; to ask that takes no thread."""
        try:
            stamp = self._found()
            if stamp != self._stamp:
                async with self._reading:  # once, whoever waits
                    if stamp != self._stamp:
                        await asyncio.to_thread(self._read, stamp)
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"the civil registry is silent: no {self._path.name} to read") from error

    def _found(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size

    def _read(self, stamp: tuple[int, int]) -> None:
        if stamp[1] > MAX_FILE_BYTES:
            raise UnavailableError(f"the civil registry's file {self._path.name} is too large")
        self._take(self._path.read_text("utf-8").splitlines())
        self._stamp = stamp

    def _take(self, lines: list[str]) -> None:
        by_numbers: dict[tuple[str, str], RegistryEntry] = {}
        by_fingerprint: dict[str, RegistryEntry] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry, fingerprints = _parsed(line)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise UnavailableError(f"line {number} of {self._path.name} is no citizen") from error
            by_numbers[entry.register_number, entry.civil_id] = entry
            by_fingerprint.update(dict.fromkeys(fingerprints, entry))
        self._by_numbers, self._by_fingerprint = by_numbers, by_fingerprint


def _parsed(line: str) -> tuple[RegistryEntry, list[str]]:
    values = json.loads(line)
    fingerprints = values.pop("fingerprints", [])
    entry = RegistryEntry(**values | {"birth_date": date.fromisoformat(values["birth_date"])})
    texts = [getattr(entry, one.name) for one in fields(entry) if one.name not in ("birth_date", "entitled")]
    if not all(isinstance(text, str) or (text is None and text is entry.clan_name) for text in texts):
        raise TypeError
    if not isinstance(entry.entitled, bool) or not all(isinstance(one, str) for one in fingerprints):
        raise TypeError
    return entry, fingerprints
