"""Signatures of a token through queue, socket and verification, beside the bare session with that token."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import uvloop

from benchmarks.figures import Figure
from benchmarks.processes import SERVER_CPU, cpu_s, pin
from pkiserver.signer.algorithms import KeySpec
from pkiserver.signer.client import MAX_WAITING, Signer
from pkiserver.signer.settings import SignerSettings
from tests import faulty_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LABEL: Final = "bench"
PIN: Final = "bench-PIN-1"
CALLERS: Final = 64
HSM_S: Final = 0.005
HSM_WORKERS: Final = 32
HSM_CALLERS: Final = MAX_WAITING  # eight a worker: a queue that is long, and refuses nobody yet
HSM_KIND: Final = "rsa:2048"  # verified fast: 6,400 verifications a second leave room on two cores
Measured = TypeVar("Measured")
COUNTS: Final = {"rsa:3072": 600, "ec:P-256": 8_000}  # some two seconds each
ROUNDS: Final = 4
AIMS: Final = {"rsa:3072": 0.9, "ec:P-256": 0.33}


def bare_rate(module: str, label: str, count: int) -> float:
    """Return signatures a CPU second by nothing but python-pkcs11, in this process."""
    import pkcs11
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

    session: Any = pkcs11.lib(module).get_token(token_label=LABEL).open(user_pin=PIN)
    wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
    (key,) = list(session.get_objects(wanted))
    rsa = key.key_type is KeyType.RSA
    mechanism, data = (Mechanism.RSA_PKCS, bytes(51)) if rsa else (Mechanism.ECDSA, bytes(32))
    for _ in range(10):
        key.sign(data, mechanism=mechanism)
    since = time.process_time()
    for _ in range(count):
        key.sign(data, mechanism=mechanism)
    return count / (time.process_time() - since)


def _bare(module: str, label: str, count: int) -> float:
    """Return the same of a process of its own: a module's state belongs to one."""
    command = [sys.executable, "-m", "benchmarks.signer", module, label, str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@asynccontextmanager
async def _signing(settings: SignerSettings, workers: int) -> "AsyncIterator[Signer]":
    signer = Signer(settings, workers=workers, max_waiting=MAX_WAITING)
    await signer.start()
    try:
        while signer.serving < workers:  # noqa: ASYNC110 - a state of other processes
            await asyncio.sleep(0.05)
        yield signer
    finally:
        await signer.close()


async def _sign(signer: Signer, label: str, count: int, callers: int = CALLERS) -> None:
    """Have so many callers ask for one signature after the other."""
    left = iter(range(count))

    async def call() -> None:
        for _ in left:
            await signer.sign(label, b"the same, which a slow token signs without this processor")

    await asyncio.gather(*(call() for _ in range(callers)))


async def _make_keys(settings: SignerSettings) -> None:
    async with _signing(settings, 1) as signer:
        for kind in (*COUNTS, HSM_KIND):
            await signer.generate(_label(kind), KeySpec.parse(kind))


async def _cpu_rates(settings: SignerSettings, kind: str) -> tuple[float, float]:
    """Return signatures a CPU second of server and worker together, by one worker, and of a bare session.

    They take turns on one processor, so that what else the machine does falls on both: two processes on one
    core's two threads would each look slower than one.
    """
    before = os.sched_getaffinity(0)
    pin(0, SERVER_CPU)  # what is started now inherits it
    try:
        return await _turns(settings, kind)
    finally:
        os.sched_setaffinity(0, before)


async def _turns(settings: SignerSettings, kind: str) -> tuple[float, float]:
    label, count = _label(kind), COUNTS[kind] // ROUNDS
    path_s = bare_s = 0.0
    async with _signing(settings, 1) as signer:
        await _sign(signer, label, CALLERS)
        for _ in range(ROUNDS):
            bare_s += count / await asyncio.to_thread(_bare, settings.module or "", label, count)
            since = time.process_time() + cpu_s(signer.pids)
            await _sign(signer, label, count)
            path_s += time.process_time() + cpu_s(signer.pids) - since
    return ROUNDS * count / path_s, ROUNDS * count / bare_s


@dataclass(frozen=True, slots=True)
class _WallRate:
    """Signatures a second, and what one cost this process and the workers in CPU seconds."""

    rate: float
    server_s: float
    workers_s: float

    @property
    def cost(self) -> str:
        return f"{self.server_s * 1e6:,.0f} + {self.workers_s * 1e6:,.0f} us of CPU"


async def _wall_rate(
    settings: SignerSettings, kind: str, workers: int, count: int, callers: int
) -> _WallRate:
    async with _signing(settings, workers) as signer:
        await _sign(signer, _label(kind), callers, callers)
        since, server_s, workers_s = time.monotonic(), time.process_time(), cpu_s(signer.pids)
        await _sign(signer, _label(kind), count, callers)
        wall_s = time.monotonic() - since
        server_s, workers_s = time.process_time() - server_s, cpu_s(signer.pids) - workers_s
    return _WallRate(count / wall_s, server_s / count, workers_s / count)


def _label(kind: str) -> str:
    return kind.replace(":", "-")


def _measured(measure: Callable[..., Awaitable[Measured]], *arguments: Any) -> Measured:
    async def run() -> Measured:
        return await measure(*arguments)

    return uvloop.run(run())


def run(folder: Path, _certificates: int, seconds: int) -> list[Figure]:
    """Measure and return the figures; nothing is measured where SoftHSM or gcc are missing."""
    if reason := faulty_token.missing():
        return [Figure("signer", reason)]
    configuration = faulty_token.softhsm_configuration(folder)
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    faulty_token.init_token(configuration, LABEL, PIN)
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(PIN)
    module = faulty_token.softhsm_module() or ""
    settings = SignerSettings(store="pkcs11", module=module, token_label=LABEL, pin_file=str(folder / "pin"))
    uvloop.run(_make_keys(settings))
    figures = [_beside_bare(settings, kind) for kind in COUNTS]
    figures.append(_two_workers(settings))
    figures.append(_slow_hsm(folder, settings, seconds))
    return figures


def _beside_bare(settings: SignerSettings, kind: str) -> Figure:
    aim = AIMS[kind]
    rate, bare = _measured(_cpu_rates, settings, kind)
    ratio = rate / bare
    return Figure(
        f"{kind}, one worker, a CPU second", f"{rate:,.0f}", f"bare session: {bare:,.0f}", ratio,
        f">= {aim}", ratio >= aim,
    )  # fmt: skip


def _two_workers(settings: SignerSettings) -> Figure:
    """Beside it stands what two cores can do at best: the server's share of a signature is on them, too."""
    kind = "rsa:3072"
    one, two = (_measured(_wall_rate, settings, kind, workers, COUNTS[kind], CALLERS) for workers in (1, 2))
    possible = 2 * one.workers_s / (one.workers_s + one.server_s)
    ratio = two.rate / one.rate
    return Figure(
        f"{kind}, two workers, a second", f"{two.rate:,.0f}",
        f"one worker: {one.rate:,.0f} ({one.cost}); possible: {possible:.2f} times", ratio,
        ">= 1.7", ratio >= 1.7,
    )  # fmt: skip


def _slow_hsm(folder: Path, settings: SignerSettings, seconds: int) -> Figure:
    module = faulty_token.FaultyModule.build(folder, round(HSM_S * 1e6))
    slow = SignerSettings(
        store="pkcs11", module=str(module.path), token_label=LABEL, pin_file=settings.pin_file
    )
    possible = HSM_WORKERS / HSM_S
    count = round(possible * seconds / 2)
    found = _measured(_wall_rate, slow, HSM_KIND, HSM_WORKERS, count, HSM_CALLERS)
    ratio = found.rate / possible
    return Figure(
        f"HSM of {HSM_S * 1e3:g} ms a signature, {HSM_WORKERS} workers, {HSM_CALLERS} callers, a second",
        f"{found.rate:,.0f}", f"possible: {possible:,.0f} ({found.cost})", ratio, ">= 0.8", ratio >= 0.8,
    )  # fmt: skip


if __name__ == "__main__":
    print(bare_rate(sys.argv[1], sys.argv[2], int(sys.argv[3])))
