"""The signer process: `python -m pkiserver.signer.worker FD STORE`; one key store, one session, one loop.

FD is an inherited socket. It brings the settings, then requests; when it ends, the server has gone and
so goes the worker. Nothing here is concurrent. An error is answered by code and message; after one that
leaves the process in doubt (`errors.ENDING`) the worker ends, and the server starts another.
"""

import gc
import importlib
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from pkiserver.signer.algorithms import KeySpec, public_key_der
from pkiserver.signer.errors import ENDING, SessionLostError, SignerError, WireError
from pkiserver.signer.keystore import KeyStore
from pkiserver.signer.secret import SecretSource, forbid_dumps
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.wire import (
    LENGTH_BYTES,
    OK,
    READY_ID,
    Answer,
    Operation,
    Request,
    body_length,
    decode_request,
    encode_answer,
    failure,
    frame,
)

STORES: Final = {
    "software": ("pkiserver.signer.software", "SoftwareKeyStore"),
    "pkcs11": ("pkiserver.signer.pkcs11", "Pkcs11KeyStore"),
}
RECEIVE_BYTES: Final = 16_384  # a batch of OCSP responses or certificates
MAX_RECEIVE_BYTES: Final = 1 << 20  # of what is larger, at a time
OpenStore = Callable[[SignerSettings, SecretSource], KeyStore]


def protect_process() -> None:
    """Keep secrets out of core files and debuggers, and leave it to the server when to stop.

    SIGTERM too is ignored: service managers send it to every process of a service, and the server
    still needs signatures while it drains. The end of the socket ends the worker in any case.
    """
    forbid_dumps()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def load_store(kind: str) -> OpenStore:
    """Return what opens a key store of this kind; the other kind's library is not even loaded."""
    module, name = STORES[kind]
    open_: OpenStore = getattr(importlib.import_module(module), name).open
    return open_


class _Connection:
    """The frames of the socket. One of the usual size is read by one system call."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._received = bytearray()

    def read(self) -> bytes | None:
        """Return the next frame's body, None where the other side has gone."""
        if not self._receive(LENGTH_BYTES):
            return None
        end = LENGTH_BYTES + body_length(bytes(self._received[:LENGTH_BYTES]))
        if not self._receive(end):
            return None
        body = bytes(self._received[LENGTH_BYTES:end])
        del self._received[:end]
        return body

    def answer(self, answer: Answer) -> None:
        """Send an answer."""
        self._socket.sendall(frame(encode_answer(answer)))

    def _receive(self, wanted: int) -> bool:
        """Have so many octets there; False where the other side has gone before."""
        while len(self._received) < wanted:
            received = self._socket.recv(max(RECEIVE_BYTES, min(wanted, MAX_RECEIVE_BYTES)))
            if not received:
                return False
            self._received += received
        return True


def serve(connection: socket.socket, kind: str) -> None:
    """Load what this kind of store needs, open the store that is named then, and answer until the end."""
    open_store = load_store(kind)
    frames = _Connection(connection)
    frames.answer(Answer(READY_ID, OK))
    try:
        store = _open(frames, open_store)
    except SignerError as error:
        frames.answer(failure(READY_ID, error))
        return
    if store is None:
        return
    gc.freeze()  # what is loaded stays: no collection need look through it again
    try:
        frames.answer(Answer(READY_ID, OK))
        _serve_requests(frames, store)
    finally:
        store.close()


def _open(frames: _Connection, open_store: OpenStore) -> KeyStore | None:
    """Return the open store, None where the server has gone."""
    encoded = frames.read()
    if encoded is None:
        return None
    settings = SignerSettings.decode(encoded)
    typed = frames.read() if settings.pin_prompt else None
    store = open_store(settings, SecretSource.of(settings, typed))
    store.check()
    return store


def _serve_requests(frames: _Connection, store: KeyStore) -> None:
    number = READY_ID
    try:
        while (body := frames.read()) is not None:
            request = decode_request(body)
            number = request.id
            frames.answer(_answer(store, request))
            number = READY_ID
    except SignerError as error:
        frames.answer(failure(number, error))


def _answer(store: KeyStore, request: Request) -> Answer:
    """Return the answer to a request; raises the error after which the worker is to end."""
    begin = time.perf_counter()
    try:
        parts = perform(store, request)
    except SessionLostError as error:
        return failure(request.id, error)
    except SignerError as error:
        if isinstance(error, ENDING):
            raise
        return failure(request.id, error)
    return Answer(request.id, OK, parts, round((time.perf_counter() - begin) * 1e6))


def perform(store: KeyStore, request: Request) -> tuple[bytes, ...]:
    """Return the parts of the answer to a request; raises `SignerError`."""
    match request.operation:
        case Operation.SIGN:
            return tuple(store.sign_many(request.label, request.parts))
        case Operation.SIGN_DIGEST:
            return (store.sign_digest(request.label, _only(request.parts)),)
        case Operation.GENERATE:
            return (public_key_der(store.generate(request.label, _spec(request.parts))),)
        case Operation.PUBLIC_KEY:
            return (public_key_der(store.public_key(request.label)),)
        case Operation.LABELS:
            return tuple(label.encode() for label in store.labels())
        case Operation.CHECK:
            store.check()
        case Operation.REOPEN:
            store.reopen()
            store.check()
    return ()


def _spec(parts: tuple[bytes, ...]) -> KeySpec:
    return KeySpec.parse(_only(parts).decode(errors="replace"))


def _only(parts: tuple[bytes, ...]) -> bytes:
    if len(parts) != 1:
        raise WireError("this is asked for in one part")
    return parts[0]


def main(arguments: list[str]) -> int:
    """Serve on the socket whose descriptor is the first argument; return the exit status."""
    protect_process()
    descriptor, kind = arguments
    with socket.socket(fileno=int(descriptor)) as connection:
        try:
            serve(connection, kind)
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the server went away while it was being answered
        except Exception as error:  # noqa: BLE001 - the outermost handler; a traceback could show secrets
            sys.stderr.write(f"signer worker: ended by {type(error).__name__}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
