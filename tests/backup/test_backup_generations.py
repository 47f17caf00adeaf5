"""Backups of homes whose authorities have had several keys: some dropped, some linked by an outside root."""

import asyncio
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from pkiserver.backup.making import make_backup
from pkiserver.backup.restoring import restore_backup
from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.home import Home
from pkiserver.initialise import initialise
from pkiserver.progress import silent
from tests.ca.test_outside_root import NEW_WITH_OLD, NEXT_ROOT, OLD_WITH_NEW, ROOT, pem

CA = "infrastructure"
PASSPHRASE = "correct horse battery"
CHEAP = 10
TO_DELETE = "to delete it: "


async def run(core: Core, command: str, **arguments: Any) -> tuple[Any, list[str]]:
    """Return what a command returns, and what it told meanwhile."""
    told: list[str] = []
    result = await core.commands.run(command, arguments, "user:ann", lambda text, *_: told.append(text))
    return result, told


async def moved(home: Home, folder: Path) -> Home:
    """Return another home, made of a backup of this one."""
    new, now = Home(folder / "new"), datetime.now(UTC)
    make_backup(home, folder / "b", PASSPHRASE, "user:ann", now, silent, cost=CHEAP)
    with (folder / "b").open("rb") as source:
        await restore_backup(source, PASSPHRASE, new, "user:bob", now, silent)
    return new


def do(commands: Sequence[str]) -> None:
    for command in commands:
        subprocess.run(shlex.split(command), check=True)


async def dropped(home: Home) -> list[str]:
    """Drop a key that was published; return the commands that delete it."""
    async with open_core(home, Clock()) as core:
        await run(core, "ca.rollover.prepare", name=CA)
        await run(core, "ca.rollover.publish", name=CA)
        _, told = await run(core, "ca.rollover.drop", name=CA)
    return [text.partition(TO_DELETE)[2] for text in told if TO_DELETE in text]


@pytest.mark.parametrize("deleted", [False, True], ids=["its keys there", "its keys deleted"])
async def test_one_that_was_dropped_stays_so(home: Home, tmp_path: Path, deleted: bool) -> None:
    commands = await dropped(home)
    assert len(commands) == 2  # its own key, and its OCSP signer's
    before = {path.name for path in home.keys.glob("*.pem")}
    if deleted:
        do(commands)
    new = await moved(home, tmp_path)
    assert len(before - {path.name for path in new.keys.glob("*.pem")}) == 2 * deleted
    async with open_core(new, Clock()) as core:
        await core.hierarchy.maintain()
        await core.crl_publisher.work()
        rows, _ = await run(core, "ca.rollover.status", name=CA)
        assert [(row["name"], row["state"]) for row in rows] == [
            (f"{CA}.1", "active"),
            (f"{CA}.2", "dropped"),
        ]
        assert [one.handle for one in core.authorities.dropped] == [f"{CA}.2"]
        assert not list(new.public.glob(f"*/{CA}.2.*"))
        rows, _ = await run(core, "ca.rollover.prepare", name=CA)
        assert (rows[-1]["name"], rows[-1]["state"]) == (f"{CA}.3", "prepared")


@pytest.fixture(scope="module")
def offline_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("offline") / "home"
    asyncio.run(initialise(Home(path), None, offline_root=True, progress=lambda _: None))
    return path


@pytest.mark.parametrize("is_dropped", [False, True], ids=["in force", "of a root that was dropped"])
async def test_links_of_an_outside_root_come_back(
    offline_home: Path, tmp_path: Path, is_dropped: bool
) -> None:
    home, links = (
        Home(shutil.copytree(offline_home, tmp_path / "home")),
        [OLD_WITH_NEW.make(), NEW_WITH_OLD.make()],
    )
    async with open_core(home, Clock()) as core:
        await run(core, "ca.import", name="root", pem=pem(ROOT))
        await run(core, "ca.rollover.prepare", name="root")
        await run(core, "ca.import", name="root.2", pem=pem(NEXT_ROOT.make()))
        await run(core, "ca.rollover.publish", name="root")
        for link in links:
            await run(core, "ca.import_link", pem=pem(link))
        if is_dropped:
            await run(core, "ca.rollover.drop", name="root")
    new = await moved(home, tmp_path)
    async with open_core(new, Clock()) as core:
        await core.crl_publisher.restore_files()
        handed_out = [der for update in core.authorities.root_updates for der in update.links]
    assert handed_out == ([] if is_dropped else [link.public_bytes(Encoding.DER) for link in links])
    bundle = new.public / "ca" / "root.2.p7c"
    assert bundle.exists() is not is_dropped
    if not is_dropped:
        assert set(links) <= set(pkcs7.load_der_pkcs7_certificates(bundle.read_bytes()))
