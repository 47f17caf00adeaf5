"""The story of a blocked token, on a token of SoftHSM and with the tool that an officer has."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import DeniedError
from tests import faulty_token
from tests.ra.officer_setting import NUMBER, SPECIALIST
from tests.ra.unblocking_setting import CODE, TOKEN, Office

pytestmark = pytest.mark.interop

FIRST_PIN, NEW_PIN, NEXT_CODE = "1234-first", "5678-new", "so-pin-31415926"
FORGOTTEN = "0000-wrong"
Tool = Callable[..., bool]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Run pkcs11-tool on a token that a station personalised; tell whether the token did what was asked."""
    module = faulty_token.softhsm_module()
    if module is None:
        pytest.skip("SoftHSM is not installed (Debian package softhsm2)")
    if shutil.which("pkcs11-tool") is None:
        pytest.skip("pkcs11-tool is not installed (Debian package opensc)")
    monkeypatch.setenv("SOFTHSM2_CONF", str(faulty_token.softhsm_configuration(tmp_path)))
    made = ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", FIRST_PIN, "--so-pin", CODE]
    subprocess.run(made, check=True, capture_output=True)

    def run(*arguments: str) -> bool:
        command = ["pkcs11-tool", "--module", module, "--token-label", TOKEN, "--login", *arguments]
        return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0

    assert run("--pin", FIRST_PIN, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "officer")
    return run


def shows_its_key(tool: Tool, pin: str) -> bool:
    return tool("--pin", pin, "--list-objects", "--type", "privkey")


def sets_pin(tool: Tool, code: str, pin: str) -> bool:
    return tool("--login-type", "so", "--so-pin", code, "--init-pin", "--new-pin", pin)


def sets_code(tool: Tool, code: str, new: str) -> bool:
    return tool("--login-type", "so", "--so-pin", code, "--change-pin", "--new-pin", new)


async def test_a_forgotten_pin_is_set_anew_with_the_released_code_which_is_then_replaced(
    core: Core, clock: Any, tool: Tool
) -> None:
    office = await Office.of(core, clock)
    assert not await asyncio.to_thread(shows_its_key, tool, FORGOTTEN)
    challenge = await office.asked(office.service)
    released = await office.unblocking.release(office.service, NUMBER, TOKEN, challenge)
    assert await asyncio.to_thread(sets_pin, tool, released.code, NEW_PIN)
    assert await asyncio.to_thread(shows_its_key, tool, NEW_PIN)
    assert not await asyncio.to_thread(shows_its_key, tool, FIRST_PIN)

    # The officer has seen the code: the station gives the token another one, and has that kept.
    assert await asyncio.to_thread(sets_code, tool, released.code, NEXT_CODE)
    kept = await office.unblocking.take_over(SPECIALIST, NUMBER, TOKEN, NEXT_CODE)
    assert (kept.number, kept.state) == (2, "kept")
    assert not await asyncio.to_thread(sets_pin, tool, released.code, "9999-stale")
    with pytest.raises(DeniedError):
        await office.unblocking.release(office.service, NUMBER, TOKEN, challenge)
    again = await office.unblocking.release(office.service, NUMBER, TOKEN, await office.asked(office.service))
    assert await asyncio.to_thread(sets_pin, tool, again.code, "2468-again")
