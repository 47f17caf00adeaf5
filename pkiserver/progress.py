"""How long work says how far it is, and gives the files it makes, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Is told what is being done, and how much of how much where that is known (`total` above 0)."""

    def __call__(self, text: str, done: int = 0, total: int = 0) -> None: ...


def silent(text: str, done: int = 0, total: int = 0) -> None:
    """Tell nobody."""


class GiveFile(Protocol):
    """Takes the files that work makes, piece after piece, one file after another."""

    async def __call__(self, name: str, piece: bytes) -> None: ...


async def no_files(name: str, piece: bytes) -> None:
    """Take none: for callers of commands that make none."""
    raise RuntimeError(f"nobody takes the file {name} of {len(piece)} octets")
