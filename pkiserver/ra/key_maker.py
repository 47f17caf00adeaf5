"""Makes subscribers' keys for serverkeygen and for CMP, each in a process of its own.

Making an RSA key takes seconds, in which no other request waits, and the process takes what it had of the
key in its memory with it. Keys that are delivered are not the signer's business: what is in its store never
leaves it.

This module is also that process: it gets the kind of key as its argument, and writes the PKCS #8.
"""

import asyncio
import resource
import sys
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pkiserver.child_environment import child_environment
from pkiserver.errors import UnavailableError
from pkiserver.signer.algorithms import CURVES

MAX_AT_ONCE: Final = 2  # each takes a processor
MAX_WAITING: Final = 16  # RSA keys of 4096 bits take a second or two: the last waits for a quarter minute
DEADLINE_S: Final = 60.0
_RSA_EXPONENT: Final = 65537


class KeyMaker:
    """Has keys made by processes, a few at once; one a server, whichever protocol asks."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._waiting = 0

    async def make(self, kind: str) -> bytes:
        """Return a new key of a kind as profiles write it, as DER PrivateKeyInfo; `UnavailableError`."""
        if self._waiting >= MAX_WAITING:
            raise UnavailableError("too many keys are being made; try again")
        self._waiting += 1
        try:
            async with self._places:
                return await _made(kind)
        finally:
            self._waiting -= 1


async def _made(kind: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # the working folder is no place to import from
        "-m",
        "pkiserver.ra.key_maker",
        kind,
        env=child_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            key, _ = await process.communicate()
    except TimeoutError as error:
        raise UnavailableError("the key was not made in time; try again") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or not key:
        raise UnavailableError("the key could not be made; try again later")
    return key


def make_key(kind: str) -> PrivateKeyTypes:
    """Return a new key of a kind such as `ec:P-256`, `rsa:3072` or `ed25519`."""
    algorithm, _, parameter = kind.partition(":")
    if algorithm == "ec":
        return ec.generate_private_key(CURVES[parameter])
    if algorithm == "rsa":
        return rsa.generate_private_key(_RSA_EXPONENT, int(parameter))
    return ed25519.Ed25519PrivateKey.generate()


def main(kind: str) -> None:
    """Write a new key to standard output; the memory of this process is never dumped."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    key = make_key(kind).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sys.stdout.buffer.write(key)


if __name__ == "__main__":
    main(sys.argv[1])
