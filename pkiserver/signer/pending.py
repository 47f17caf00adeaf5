"""A request on its way: who waits for it, until when, how often it was tried."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pkiserver.signer.errors import SignerError
from pkiserver.signer.wire import Operation, Request

TRIES: Final = dict.fromkeys(Operation, 2) | {Operation.GENERATE: 1, Operation.CHECK: 1}
"""Signing is idempotent before a signature is released: one more does no harm. Making a key is not,
and the check of a worker is of that worker."""


def _future() -> asyncio.Future[tuple[bytes, ...]]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Pending:
    """A request and the future of its answer; times are of the event loop's clock."""

    operation: Operation
    label: str
    parts: tuple[bytes, ...]
    submitted_s: float
    deadline_s: float  # a length of time: how long it may wait, and how long a worker may then hold it
    done: asyncio.Future[tuple[bytes, ...]] = field(default_factory=_future)
    tries: int = 0

    @property
    def counts(self) -> bool:
        """Whether somebody asked for it; checks of health are nobody's."""
        return self.operation is not Operation.CHECK

    @property
    def may_be_tried(self) -> bool:
        """Whether it may be given to a worker, once more where one was lost with it."""
        return not self.done.done() and self.tries < TRIES[self.operation]

    def late(self, now: float) -> bool:
        """Whether who asked has waited long enough."""
        return now - self.submitted_s > self.deadline_s

    @property
    def mergeable(self) -> bool:
        """Whether it may travel with others of its label; what was lost with a worker travels alone."""
        return self.operation is Operation.SIGN and self.tries == 0

    def answer(self, parts: tuple[bytes, ...]) -> None:
        """Give the parts of the answer to who waits, if anybody still does."""
        if not self.done.done():
            self.done.set_result(parts)

    def fail(self, error: SignerError) -> None:
        """Give an error of its own to who waits: each raises it with another traceback."""
        if not self.counts:
            self.done.cancel()
        elif not self.done.done():
            failure = type(error)(*error.args)
            failure.__cause__ = error.__cause__
            self.done.set_exception(failure)


def as_one(batch: Sequence[Pending], number: int) -> Request:
    """Return the one request that a batch travels as: all parts in order."""
    first = batch[0]
    parts = first.parts if len(batch) == 1 else tuple(part for pending in batch for part in pending.parts)
    return Request(number, first.operation, first.label, parts)
