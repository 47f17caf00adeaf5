"""What the kernel accounts to a process: CPU time and memory of its own."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
SERVER_CPU: Final = 0
LOAD_CPU: Final = 1


def cpu_s(pids: Iterable[int]) -> float:
    """Return user and system seconds of processes, summed."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def private_mib(pid: int) -> float:
    """Return the memory of a process that no file backs, in MiB: the mapped table does not count."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kib = sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Anonymous:"))
    return kib / 1024


def pin(pid: int, cpu: int) -> None:
    """Keep a process on one processor, where there are several."""
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(pid, {cpu})
