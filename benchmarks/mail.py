"""Letters a CPU minute: from the outbox to a mail server on this machine, noted and audited."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from pkiserver.clock import Clock
from pkiserver.ra.letters.outbox import Letter, Medium, Outbox
from pkiserver.ra.letters.postman import Postman
from pkiserver.ra.letters.smtp import SMTPServer, SMTPWay
from pkiserver.ra.letters.templates import Templates
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.storage import Storage
from store import letters
from store.database import Database, Transaction

AIM: Final = 10_000  # a minute
ROUND: Final = 256
ROUNDS: Final = 3
_VALUES: Final = {"serial": "5B1F" * 8, "at": "2026-07-09 15:00", "ground": "эзэмшигчийн хүсэлт"}


@contextmanager
def _sink() -> Iterator[int]:
    """Run the mail server; it must have taken every letter in the end."""
    command = [sys.executable, "-m", "benchmarks.mail_sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
        taken = int(process.stdout.readline())
    if taken != ROUND * ROUNDS:
        raise RuntimeError(f"{taken} letters came, and not {ROUND * ROUNDS}")


async def _rounds(folder: Path, port: int) -> list[tuple[float, float]]:
    """Return CPU and wall seconds of each round of letters."""
    clock, database = Clock(), Database(folder / "mail.db")
    storage, outbox = Storage(database), Outbox(PersonalData(folder / "personal-data.key"))
    postman = Postman(
        storage=storage,
        clock=clock,
        outbox=outbox,
        templates=Templates(folder / "letters"),
        ways={Medium.MAIL: SMTPWay(SMTPServer("127.0.0.1", port, "ca@example.mn", "none"))},
        patience=timedelta(days=3),
    )

    def write(tx: Transaction, first: int) -> None:
        for number in range(first, first + ROUND):
            to = f"holder-{number}@example.mn"
            letter = Letter(f"event/{number}", "certificate-suspended", Medium.MAIL, to, _VALUES)
            outbox.write(tx, letter, clock.now())

    measured = []
    try:
        for number in range(ROUNDS):
            await storage.write(lambda tx, first=number * ROUND: write(tx, first))  # type: ignore[misc]
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            while await postman.deliver_due():
                pass
            measured.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
        sent = len(await storage.read(lambda tx: letters.in_state(tx, "sent", None, ROUND * ROUNDS)))
        if sent != ROUND * ROUNDS:
            raise RuntimeError(f"{sent} letters are noted as sent")
    finally:
        await postman.close()
        database.close()
    return measured


def run(folder: Path, certificates: int, seconds: int) -> list[Figure]:  # noqa: ARG001 - the common form
    """Measure and return the figures."""
    with _sink() as port:
        rounds = asyncio.run(_rounds(folder, port))
    cpu_s = statistics.median(cpu for cpu, _ in rounds) / ROUND
    wall_s = statistics.median(wall for _, wall in rounds) / ROUND
    return [
        Figure(
            "notifications to a local mail server, a CPU minute", f"{60 / cpu_s:.0f}",
            f"{1e3 * cpu_s:.2f} CPU ms a letter, {60 / wall_s:.0f} a minute; median of {ROUNDS} rounds", None,
            f">= {AIM}", 60 / cpu_s >= AIM,
        )
    ]  # fmt: skip
