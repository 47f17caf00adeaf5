"""What the server's main process is given and does not do: descriptors, no core dump, memory, collecting."""

import asyncio
import ctypes
import gc
import resource
from typing import Final

MAX_DESCRIPTORS: Final = 65_536  # more than all listeners may take; some hard limits are far over it
RESERVED_DESCRIPTORS: Final = 256  # database, control socket, children, files being written: never a client's
MIN_CONNECTIONS: Final = 16  # of a listener, however low the limit
TRIM_S: Final = 60.0  # a trim takes some milliseconds
LARGE_BLOCK_BYTES: Final = 128 * 1024  # glibc's own first value
_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_M_ARENA_MAX: Final = -8
_YOUNG_OBJECTS: Final = 20_000  # made and not freed before a collection: many requests' worth, a few MiB


def prepare_process() -> None:
    """Take as many descriptors as may be had, and leave no memory behind in a core file.

    Children inherit both.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _bound_heap()


def _bound_heap() -> None:
    """Keep the heap from being made larger by what does not stay; only glibc has it to be told (mallopt(3)).

    A block of `LARGE_BLOCK_BYTES` or more is memory of its own, and gone when it is freed. Left to itself,
    glibc puts such blocks on the heap once it has seen one freed: each TLS connection reads into one of
    256 KiB, and what lives longer settles where they were. And there is one heap for all threads, not one for
    each that grows to the most that this thread ever needed: they do not allocate much beside each other.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(_M_ARENA_MAX, 1)


async def trim_heap() -> None:
    """Give pages of the heap that nothing is on back to the system, every `TRIM_S`, until cancelled.

    What requests leave free between what stays is filled only in part by others: the heap of an issuing
    server grows by a tenth in its first 30,000 enrolments. Only glibc has it to be told (malloc_trim(3)).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while True:
        await asyncio.sleep(TRIM_S)
        if trim is not None:
            await asyncio.to_thread(trim, 0)


def settle_garbage_collection() -> None:
    """Keep the collector from what is there for good: call it once, when everything was started.

    It would walk every module, class and profile again and again, some tens of milliseconds each time, while
    every client waits.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


def connections_for(listeners: int, wanted: int) -> int:
    """Return how many connections each of so many listeners may take, `wanted` at most.

    Together they leave `RESERVED_DESCRIPTORS` of this process's descriptors, so that clients who hold all
    connections keep neither the control socket nor the store from working.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    share = (soft - RESERVED_DESCRIPTORS) // max(1, listeners)
    return max(MIN_CONNECTIONS, min(wanted, share))
