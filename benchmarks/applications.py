"""Whole applications a CPU second of the server, by the median of short rounds.

Whole: the form, its verification, the credential, the enrolment over EST, the form signed off, and the
carrier handed over with what the holder acknowledged (regulation 2.7).
"""

import asyncio
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.application_load import form
from benchmarks.desks import REGISTRAR, registrar_certificate, without_limits
from benchmarks.est_server import descendants, started, write_csrs
from benchmarks.figures import Figure
from benchmarks.processes import cpu_s
from pkiserver.clock import Clock
from pkiserver.control import call
from pkiserver.core import open_core
from pkiserver.home import Home
from pkiserver.progress import silent

AIM: Final = 120
CLIENTS: Final = 16
MOST_A_SECOND: Final = 300
ROUNDS: Final = (
    5  # of one second at least: a round beside other work of the machine is left out by the median
)


async def _equip(home: Home, folder: Path, count: int) -> None:
    """Put an office, a registrar with a certificate, and the citizens into a home."""
    without_limits(home)
    with home.civil_registry.open("w") as file:
        for number in range(count):
            file.write(json.dumps(_citizen(number), ensure_ascii=False) + "\n")
    async with open_core(home, Clock()) as core:
        office = {
            "code": "ub-1", "name": "Сүхбаатар", "kind": "branch", "opens_at": "09:00", "closes_at": "18:00",
            "break_from": "13:00", "break_to": "14:00", "weekdays": "12345",
        }  # fmt: skip
        await core.commands.run("office.add", office, "user:bench", silent)
        pem = await registrar_certificate(core, folder)
        actor = {
            "name": "registrar",
            "pem": pem,
            "role": "registrar",
            "everywhere": True,
            "civil_id": REGISTRAR,
        }
        await core.commands.run("actor.add", actor, "user:bench", silent)


def _citizen(number: int) -> dict[str, Any]:
    names = ("register_number", "civil_id", "birth_date", "parent_name", "given_name")
    known = {name: value for name, value in form(number).items() if name in names}
    return known | {"clan_name": None, "entitled": True, "fingerprints": [f"check-{number}"]}


def _load(
    folder: Path, port: int, pids: list[int], seconds: float, first: int
) -> tuple[dict[str, Any], float]:
    """Run a load from this citizen on; return what it found, and the CPU seconds that the server took for it.

    They are counted from when all were connected.
    """
    command = [sys.executable, "-m", "benchmarks.application_load", str(folder), str(port)]
    options = ["--clients", str(CLIENTS), "--seconds", str(seconds), "--first", str(first)]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *options], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the load could not connect")
        before = cpu_s(pids)
        process.stdin.write("\n")
        process.stdin.flush()
        said = process.stdout.readline()
        used = cpu_s(pids) - before
    if not said:
        raise RuntimeError("the load did not go through")
    found: dict[str, Any] = json.loads(said)
    return found, used


async def _delivered(home: Home) -> int:
    """Return how many of the last applications are delivered, a thousand at most."""
    wanted = {"state": "delivered", "office": None, "limit": 1000}
    answer = await call(home, "application.list", wanted, silent)
    assert answer is not None
    return len(answer[0])


def _round(folder: Path, port: int, pids: list[int], seconds: float, first: int) -> tuple[int, float, float]:
    """Return how many applications a round took to their end, the server's CPU seconds, and its length."""
    found, used = _load(folder, port, pids, seconds, first)
    return int(found["done"]), used, float(found["seconds"])


def run(folder: Path, certificates: int, seconds: int) -> list[Figure]:  # noqa: ARG001 - the common form
    """Measure and return the figures."""
    count = (seconds + 2) * MOST_A_SECOND
    place = folder / "applications"
    rounds: list[tuple[int, float, float]] = []
    with started(place, "ec:P-256", lambda home: asyncio.run(_equip(home, place, count))) as (
        home,
        pid,
        ports,
    ):
        (place / "root.pem").write_bytes((home.public / "ca" / "root.pem").read_bytes())
        write_csrs(place / "csrs", count)
        for _ in range(ROUNDS):
            done = sum(one[0] for one in rounds)
            each_s = max(1.0, seconds / ROUNDS)
            rounds.append(_round(place, ports["https"], descendants(pid), each_s, 1 + done))
        delivered = asyncio.run(_delivered(home))
    expected = min(1000, sum(one[0] for one in rounds))
    if delivered != expected:
        raise RuntimeError(f"{delivered} applications are delivered, and not {expected}")
    rate = statistics.median(done / used for done, used, _ in rounds)
    pace = statistics.median(done / length for done, _, length in rounds)
    return [
        Figure(
            "whole applications over the API and EST, a CPU second", f"{rate:.0f}",
            f"{pace:.0f} a second, {1e3 / rate:.2f} CPU ms each; median of {ROUNDS} rounds", None,
            f">= {AIM}", rate >= AIM,
        )
    ]  # fmt: skip
