"""The commands on the signer, as the control socket runs them."""

import pytest

from pkiserver.core import Core
from pkiserver.errors import RefusedError
from pkiserver.progress import silent
from pkiserver.signer.client import Signer
from pkiserver.signer.secret import MAX_SECRET_BYTES
from store import audit

PIN = "another-PIN-2"


async def reset(core: Core, **arguments: str) -> None:
    await core.commands.run("signer.reset", arguments, "cli:0", silent)


async def records(core: Core) -> str:
    return repr(await core.storage.read(lambda tx: audit.newest(tx, 5)))


async def test_a_pin_is_refused_where_none_is_typed(core: Core) -> None:
    with pytest.raises(RefusedError, match="not typed here"):
        await reset(core, pin=PIN)
    assert PIN not in await records(core)


async def test_another_pin_reaches_the_signer_and_no_record(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bytes | None] = []
    monkeypatch.setattr(Signer, "asks_pin", True)
    monkeypatch.setattr(Signer, "reset", lambda _, typed: given.append(typed))
    await reset(core, pin=PIN)
    await reset(core)
    assert given == [PIN.encode(), None]
    found = await records(core)
    assert PIN not in found
    assert "signer.reset" in found
    for wrong in ("", "1" * (MAX_SECRET_BYTES + 1)):
        with pytest.raises(RefusedError, match="octets"):
            await reset(core, pin=wrong)
