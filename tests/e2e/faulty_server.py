"""Starts the real command line with one fault built in; for tests only, the product knows nothing of it.

`PKISERVER_TEST_KILL=before:_sign` ends the process by SIGKILL before (or `after:`) that step of an
issuance, of an approval, of an answer, or of a list's import.
`PKISERVER_TEST_CLOCK=FILE` adds the seconds that stand in the file, if there is one, to what the clock says.
"""

import os
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from pkiserver.ca.issuance import Issuance
from pkiserver.cli import main
from pkiserver.clock import Clock
from pkiserver.ra.approval import Approvals
from pkiserver.ra.bulk.runner import BulkRunner
from pkiserver.ra.cmc import FullPKIRequests
from pkiserver.ra.cmp.answers import Answers
from pkiserver.ra.cmp.confirmation import Confirmation
from pkiserver.ra.enrollment import Enrollment
from pkiserver.ra.registration.imports import Imports
from pkiserver.ra.registration.plant import Plant
from pkiserver.ra.registration.plant_results import PlantResults
from pkiserver.ra.server_keys import ServerKeys
from pkiserver.ra.status_changes import StatusChanges
from store import undelivered_keys

STEPS = {
    "_reserve": Issuance,
    "_mark_signing": Issuance,
    "_sign": Issuance,
    "_assemble": Issuance,
    "_record": Issuance,
    "delivered": Enrollment,
    "decide": Approvals,
    "sign": FullPKIRequests,
    "message": Answers,
    "confirm": Confirmation,
    "_hand_over": ServerKeys,
    "remove": undelivered_keys,
    "_batch": Imports,
    "_made": Imports,
    "_all_or_none": Imports,
    "pull": Plant,
    "report": PlantResults,
    "announce": StatusChanges,
    "next_batch": BulkRunner,
    "_follow": BulkRunner,
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # the signal is delivered now; nothing of the step may run any more


def fatal(step: Callable[..., Any], when: str) -> Callable[..., Any]:
    """Return the step with the end of the process before or after it."""

    @wraps(step)
    async def fatal_coroutine(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            die()
        await step(*arguments, **named)
        die()

    @wraps(step)
    def fatal_function(*arguments: Any) -> Any:
        if when == "before":
            die()
        step(*arguments)
        die()

    return fatal_coroutine if iscoroutinefunction(step) else fatal_function


def build_in_kill(fault: str) -> None:
    when, name = fault.split(":")
    if when not in ("before", "after"):
        raise ValueError(f"{when} is neither before nor after")
    setattr(STEPS[name], name, fatal(getattr(STEPS[name], name), when))


def build_in_clock(offset: Path) -> None:
    right = Clock.now

    def now(self: Clock) -> datetime:
        return right(self) + timedelta(seconds=int(offset.read_text()) if offset.exists() else 0)

    setattr(Clock, "now", now)  # noqa: B010 - a plain assignment to a method is refused by mypy


if __name__ == "__main__":
    if fault := os.environ.get("PKISERVER_TEST_KILL"):
        build_in_kill(fault)
    if offset := os.environ.get("PKISERVER_TEST_CLOCK"):
        build_in_clock(Path(offset))
    main(prog_name="pkiserver")
