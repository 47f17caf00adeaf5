"""Commands of the tokens of organisations."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.registration import office_worker
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from pkiserver.ra.registration.carriers import Event, State
from store.carriers import CarrierRecord


def _token(record: CarrierRecord) -> dict[str, Any]:
    names = ("id", "serial", "state", "version", "person")
    return {name: getattr(record, name) for name in names}


async def receive_tokens(
    services: CommandServices, caller: Caller, /, *, number: str, content: str, paper: str
) -> dict[str, Any]:
    try:
        octets = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError("the list is not in Base64") from error
    taken = await services.registration.tokens.receive(office_worker(caller), number, octets, paper)
    return {"received": taken.received, "known": taken.known}


async def list_tokens(
    services: CommandServices, caller: Caller, /, *, number: str, state: str | None, after: int, limit: int
) -> list[dict[str, Any]]:
    if state is not None and state not in {one.value for one in State}:
        raise RefusedError(f"a token is {', '.join(one.value for one in State)}")
    found = await services.registration.tokens.listed(
        office_worker(caller),
        number,
        state=None if state is None else State(state),
        after=after,
        limit=limit,
    )
    return [_token(one) for one in found]


async def assign_token(
    services: CommandServices, caller: Caller, /, *, number: str, serial: str, application: int
) -> dict[str, Any]:
    tokens = services.registration.tokens
    return _token(await tokens.assign(office_worker(caller), number, serial, application))


async def move_token(
    services: CommandServices, caller: Caller, /, *, number: str, serial: str, event: str, ground: str
) -> dict[str, Any]:
    if event not in {one.value for one in Event}:
        raise RefusedError("a token is returned, lost, damaged or retired")
    tokens = services.registration.tokens
    return _token(await tokens.move(office_worker(caller), number, serial, Event(event), ground))


async def keep_code(
    services: CommandServices, caller: Caller, /, *, number: str, serial: str, code: str
) -> dict[str, Any]:
    unblocking = services.registration.unblocking
    kept = await unblocking.take_over(office_worker(caller), number, serial, code)
    return {"token": serial.upper(), "number": kept.number, "state": kept.state}


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "token.receive": CommandEntry(receive_tokens),
    "token.list": CommandEntry(list_tokens, reading=True),
    "token.assign": CommandEntry(assign_token),
    "token.move": CommandEntry(move_token),
    "token.keep-code": CommandEntry(keep_code),
}
