"""By which way a letter leaves: the port, and the file that is the default where no way is configured."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

MAX_FAILURE_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """A letter to be delivered: its number, by which a repetition is known, to whom, and its words."""

    letter: int
    to: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message: None, it was taken over; otherwise why not, and whether to try again."""

    failure: str | None = None
    is_final: bool = False

    @classmethod
    def failed(cls, why: str, *, is_final: bool = False) -> "Outcome":
        """Return a failure, its reason made fit to be kept: printable, bounded, without an address in it."""
        text = "".join(one if one.isprintable() else " " for one in why)
        return cls(text[:MAX_FAILURE_CHARACTERS], is_final)


class Way(Protocol):
    """One way of delivery; it takes many messages at a time, and reports of each."""

    async def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Return what became of each message, in their order; never raises for a message."""

    async def close(self) -> None:
        """Let go of connections."""


class FileSink:
    """Writes letters into a file, a line of JSON each: for trials, or for a gateway that follows it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Append the messages; they are on disk when this returns."""
        lines = "".join(
            json.dumps(
                {"letter": one.letter, "to": one.to, "subject": one.subject, "text": one.text},
                ensure_ascii=False,
            )
            + "\n"
            for one in messages
        )
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "ab") as file:  # noqa: ASYNC230 - a short append to a local file
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return [Outcome.failed(f"{self._path.name}: {error.strerror}")] * len(messages)
        return [Outcome()] * len(messages)

    async def close(self) -> None:
        """There is nothing to let go of."""
