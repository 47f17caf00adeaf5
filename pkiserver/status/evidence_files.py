"""Gives the files of the evidence, piece by piece, to whoever asked for it."""

import hashlib
from typing import Any, Final

from pkiserver.progress import GiveFile

MAX_PIECE_OCTETS: Final = 1 << 20  # of a file that is given: a line of the control socket is bounded


class EvidenceFiles:
    """Gives files on, and remembers their names and digests."""

    def __init__(self, give_file: GiveFile) -> None:
        self._give_file = give_file
        self._sums: list[tuple[str, str]] = []
        self._open: tuple[str, Any] = ("", hashlib.sha256())

    @property
    def names(self) -> list[str]:
        """The names of those that are whole."""
        return [name for name, _ in self._sums]

    async def give(self, name: str, content: bytes) -> None:
        """Give a whole file."""
        await self.begin(name, content)
        self.end()

    async def begin(self, name: str, piece: bytes) -> None:
        """Give the first piece of a file."""
        self._open = (name, hashlib.sha256())
        await self.more(piece)

    async def more(self, piece: bytes) -> None:
        """Give the next piece of the file that was begun."""
        name, digest = self._open
        digest.update(piece)
        for start in range(0, len(piece) or 1, MAX_PIECE_OCTETS):
            await self._give_file(name, piece[start : start + MAX_PIECE_OCTETS])

    def end(self) -> None:
        """Say that the file that was begun is whole."""
        name, digest = self._open
        self._sums.append((name, digest.hexdigest()))

    def sums(self) -> bytes:
        """Return the digests as `sha256sum` writes them."""
        return "".join(f"{digest}  {name}\n" for name, digest in self._sums).encode("ascii")
