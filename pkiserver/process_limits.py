"""What the server's main process is given and does not do: descriptors, no core dump, little collecting."""

import gc
import resource
from typing import Final

MAX_DESCRIPTORS: Final = 65_536  # more than all listeners may take; some hard limits are far over it
RESERVED_DESCRIPTORS: Final = 256  # database, control socket, children, files being written: never a client's
MIN_CONNECTIONS: Final = 16  # of a listener, however low the limit
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
