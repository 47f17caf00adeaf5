"""What the server's processes are given: descriptors, core dumps, environment."""

import ctypes
import json
import resource
import subprocess
import sys

import pytest

from pkiserver import process_limits
from pkiserver.child_environment import child_environment
from pkiserver.process_limits import RESERVED_DESCRIPTORS, connections_for

PROGRAM = """
import json, resource
from pkiserver.process_limits import prepare_process
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
prepare_process()
print(json.dumps([resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)]))
"""


@pytest.mark.parametrize(("soft", "hard"), [(64, 512), (512, 512), (100, 1024)])
def test_the_soft_limit_becomes_the_hard_one_and_no_core_is_left(soft: int, hard: int) -> None:
    program = PROGRAM.format(soft=soft, hard=hard)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert json.loads(said) == [[hard, hard], [0, 0]]


SETTLED = """
import gc, json
from pkiserver.process_limits import settle_garbage_collection
kept = [[number] for number in range(1_000)]
settle_garbage_collection()
print(json.dumps([gc.get_freeze_count() > 1_000, gc.get_threshold()[0], gc.isenabled()]))
"""


def test_what_is_there_for_good_is_not_collected_again() -> None:
    said = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, check=True).stdout
    assert json.loads(said) == [True, 20_000, True]


HEAP = """
import ctypes, json, threading
from pkiserver.process_limits import LARGE_BLOCK_BYTES, prepare_process

class Counts(ctypes.Structure):  # mallinfo2(3)
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "blocks", "block_bytes", "usmblks", "fsmblks", "used", "free", "top")]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
    ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p])
libc.mallinfo2.restype = Counts
prepare_process()
libc.free(libc.malloc(4 * LARGE_BLOCK_BYTES))  # after which glibc would keep the next one on the heap
before = libc.mallinfo2()
block = libc.malloc(2 * LARGE_BLOCK_BYTES)
alone = libc.mallinfo2().blocks - before.blocks
thread = threading.Thread(target=lambda: libc.malloc(50_000))
thread.start()
thread.join()
print(json.dumps([alone, libc.mallinfo2().used - before.used >= 50_000]))
"""


@pytest.fixture
def glibc() -> None:
    """Only glibc says how its heap is."""
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("needs glibc 2.33")


@pytest.mark.usefixtures("glibc")
def test_large_blocks_do_not_come_to_lie_on_the_heap() -> None:
    said = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, check=True).stdout
    assert json.loads(said) == [1, True]


TRIMMED = """
import asyncio, ctypes, json
from pathlib import Path
from pkiserver import process_limits

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
    ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p])
process_limits.TRIM_S = 0.01

def pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])

async def main() -> None:
    blocks = [libc.malloc(16_384) for _ in range(2_048)]
    for block in blocks:
        ctypes.memset(block, 1, 16_384)
    for block in blocks[:-1]:  # the last one keeps the heap from ending earlier
        libc.free(block)
    before = pages()
    trimming = asyncio.create_task(process_limits.trim_heap())
    while before - pages() < 4_096:
        await asyncio.sleep(0.01)
    trimming.cancel()

asyncio.run(asyncio.wait_for(main(), 30))
"""


@pytest.mark.usefixtures("glibc")
def test_pages_of_the_heap_that_nothing_is_on_are_given_back() -> None:
    subprocess.run([sys.executable, "-c", TRIMMED], capture_output=True, check=True)


def test_more_than_is_of_use_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(process_limits.resource, "getrlimit", lambda _: (1024, resource.RLIM_INFINITY))
    monkeypatch.setattr(process_limits.resource, "setrlimit", lambda *limit: taken.append(limit))
    process_limits.prepare_process()
    assert taken[0] == (resource.RLIMIT_NOFILE, (65_536, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    ("soft", "listeners", "wanted", "connections"),
    [
        (65_536, 2, 1024, 1024),
        (1024, 1, 1024, 768),
        (1024, 2, 1024, 384),
        (256, 2, 1024, 16),
        (1024, 0, 1024, 768),
        (resource.RLIM_INFINITY, 2, 1024, 1024),
    ],
)
def test_connections_leave_descriptors_to_the_rest(
    monkeypatch: pytest.MonkeyPatch, soft: int, listeners: int, wanted: int, connections: int
) -> None:
    monkeypatch.setattr(process_limits.resource, "getrlimit", lambda _: (soft, soft))
    assert connections_for(listeners, wanted) == connections
    if soft >= 1024:
        assert listeners * connections + RESERVED_DESCRIPTORS <= soft


def test_a_child_gets_only_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "LANG", "PKI_PASSPHRASE", "FURTHER"):
        monkeypatch.setenv(name, f"value of {name}")
    environment = child_environment("FURTHER", "NOT_SET", "")
    assert environment["FURTHER"] == "value of FURTHER"
    assert {"PATH", "LANG"} <= environment.keys()
    assert not {"PKI_PASSPHRASE", "NOT_SET", ""} & environment.keys()
