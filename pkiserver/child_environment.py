"""The environment of child processes: what they need, and no secret that only the server was given."""

import os
import sysconfig
from pathlib import Path
from typing import Final

import pkiserver

_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


def child_environment(*further: str) -> dict[str, str]:
    """Return the environment of a child in which this program is found where this process found it.

    `further` names variables that this kind of child needs besides; one that is not set is left out.
    """
    environment = {name: os.environ[name] for name in (*_PASSED_ON, *further) if name in os.environ}
    root = str(Path(pkiserver.__file__).resolve().parent.parent)
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        environment["PYTHONPATH"] = root  # run from a checkout: the child is to be of the same one
    return environment
