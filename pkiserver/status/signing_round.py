"""One round of the presigner's work: what was asked for, how much there is to sign, how far it is."""

import asyncio
from dataclasses import dataclass, field

from pkiserver.errors import UnavailableError
from pkiserver.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class PresignRequest:
    """Asks for what is due, or for `everything`; of one authority, or of all where it is None.

    `signed` becomes how many responses were signed in the round that served it.
    """

    everything: bool
    authority: int | None
    progress: Progress
    signed: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, reason: str) -> None:
        """Have it end in an error, unless it has ended."""
        if not self.signed.done():
            self.signed.set_exception(UnavailableError(reason))


class SigningRound:
    """Counts what is signed and tells those who asked for it."""

    def __init__(self, requests: list[PresignRequest]) -> None:
        self.requests = requests
        self.planned = 0
        self.signed = 0

    @property
    def left(self) -> int:
        """How many responses are still to be signed, as far as that is known."""
        return max(self.planned - self.signed, 0)

    @property
    def all_anew(self) -> bool:
        """Whether somebody asked for everything of all authorities."""
        return any(one.everything and one.authority is None for one in self.requests)

    def authorities_anew(self) -> set[int]:
        """Return the authorities of which everything was asked for."""
        return {one.authority for one in self.requests if one.everything and one.authority is not None}

    def count(self, signed: int) -> None:
        """Say that so many more responses were signed."""
        self.signed += signed
        for one in self.requests:
            one.progress("Signing OCSP responses", self.signed, max(self.planned, self.signed))

    def end(self, failure: str | None) -> None:
        """Answer the requests."""
        for one in self.requests:
            if failure is not None:
                one.fail(failure)
            elif not one.signed.done():
                one.signed.set_result(self.signed)
