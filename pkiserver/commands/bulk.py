"""Commands of bulk acts. What takes a second person is confirmed over the API, not here."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pkiserver.commands.services import (
    Caller,
    CommandEntry,
    CommandServices,
    certificate_of,
    parse_after,
)
from pkiserver.errors import RefusedError
from pkiserver.ra.bulk.acts import NewAct
from pkiserver.ra.bulk.rules import State
from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store.bulk_acts import ActRecord

MAX_SERIALS: Final = 10_000  # of a list that a command is given


def _proposer(caller: Caller) -> Actor:
    """Return who gives a command at this machine: one who proposes, while somebody else confirms."""
    return Actor(caller.actor, (Assignment(Role.LEGAL),))


def _act(record: ActRecord) -> dict[str, Any]:
    moments = ("proposed_at", "decided_at", "finished_at")
    names = (
        "id", "kind", "ground", "state", "version", "lifts", "certificates", "batches", "done", "changed",
        "passed_over", "proposed_by", "decided_by",
    )  # fmt: skip
    return {
        **{name: getattr(record, name) for name in names},
        **{name: None if (at := getattr(record, name)) is None else at.isoformat() for name in moments},
        "selection": json.loads(record.selection),
        "evidence": json.loads(record.evidence),
        "sha256": record.sha256.hex(),
    }


async def propose_act(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    kind: str,
    ground: str,
    organization: str | None,
    ca: str | None,
    profile: str | None,
    issued_from: str | None,
    issued_until: str | None,
    serials: list[str],
    lifts: int | None,
    evidence: dict[str, str],
) -> dict[str, Any]:
    if kind not in {one.value for one in Kind}:
        raise RefusedError("a bulk act suspends, restores or revokes")
    if len(serials) > MAX_SERIALS:
        raise RefusedError(f"a list has {MAX_SERIALS} serial numbers at most: divide it")
    found = [await certificate_of(services, serial, ca) for serial in serials]
    selection = Selection(
        organization=organization,
        issuer=() if ca is None or serials else tuple(services.authorities.ids(ca)),
        profile=profile,
        issued_from=_moment(issued_from),
        issued_until=_moment(issued_until),
        named=tuple((one.authority, one.serial) for one in found),
        lifts=lifts,
    )
    new = NewAct(Kind(kind), ground, selection, evidence)
    return _act(await services.registration.bulk_acts.propose(_proposer(caller), new))


def _moment(text: str | None) -> datetime | None:
    try:
        moment = None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusedError("a time is written as 2026-07-01T00:00:00+08:00") from error
    if moment is not None and moment.tzinfo is None:
        raise RefusedError("a time says its time zone")
    return moment


async def list_acts(
    services: CommandServices, caller: Caller, /, *, state: str | None, after: str | None, limit: int
) -> list[dict[str, Any]]:
    if state is not None and state not in {one.value for one in State}:
        raise RefusedError(f"a bulk act is {', '.join(one.value for one in State)}")
    found = await services.registration.bulk_acts.newest(
        _proposer(caller),
        state=None if state is None else State(state),
        before=parse_after(after),
        limit=limit,
    )
    return [_act(one) for one in found]


async def show_act(services: CommandServices, caller: Caller, /, *, act: int) -> dict[str, Any]:
    return _act(await services.registration.bulk_acts.show(_proposer(caller), act))


async def stop_act(services: CommandServices, caller: Caller, /, *, act: int, version: int) -> dict[str, Any]:
    return _act(await services.registration.bulk_acts.stop(_proposer(caller), act, version))


async def resume_acts(services: CommandServices, caller: Caller, /, *, act: int | None) -> dict[str, Any]:
    acts = services.registration.bulk_acts
    if act is not None:
        found = await acts.show(_proposer(caller), act)
        if found.state == State.STOPPED.value:
            await acts.resume(_proposer(caller), act, found.version)
    return {"changed": await services.registration.bulk_runner.work(caller.progress)}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "bulk.propose": CommandEntry(propose_act),
    "bulk.list": CommandEntry(list_acts, reading=True),
    "bulk.show": CommandEntry(show_act, reading=True),
    "bulk.stop": CommandEntry(stop_act),
    "bulk.resume": CommandEntry(resume_acts),
}
