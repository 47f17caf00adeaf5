"""The signer process: `python -m pkiserver.signer.worker FD`; one key store, one session, one loop.

FD is an inherited socket. It brings the settings, then requests; when it ends, the server has gone and
so goes the worker. Nothing here is concurrent. An error is answered by code and message; after one that
leaves the session in doubt (`errors.ENDING`) the worker ends, and the server starts another.
"""

import ctypes
import resource
import signal
import socket
import sys
from typing import Final

from pkiserver.signer.algorithms import KeySpec, public_key_der
from pkiserver.signer.errors import ENDING, SignerError, WireError
from pkiserver.signer.keystore import KeyStore
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

_PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>


def protect_process() -> None:
    """Keep secrets out of core files and debuggers, and leave it to the server when to stop.

    SIGTERM too is ignored: service managers send it to every process of a service, and the server
    still needs signatures while it drains. The end of the socket ends the worker in any case.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SystemExit("signer worker: cannot forbid core dumps")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def open_store(settings: SignerSettings) -> KeyStore:
    """Return the key store of the settings; the other kind's library is not even loaded."""
    if settings.store == "pkcs11":
        from pkiserver.signer.pkcs11 import Pkcs11KeyStore

        return Pkcs11KeyStore.open(settings)
    from pkiserver.signer.software import SoftwareKeyStore

    return SoftwareKeyStore.open(settings)


def serve(connection: socket.socket) -> None:
    """Open the store that the first frame names, say whether it opened, and answer until the end."""
    settings = _read_frame(connection)
    if settings is None:
        return
    try:
        store = open_store(SignerSettings.decode(settings))
    except SignerError as error:
        _send(connection, failure(READY_ID, error))
        return
    try:
        _send(connection, Answer(READY_ID, OK))
        _serve_requests(connection, store)
    finally:
        store.close()


def _serve_requests(connection: socket.socket, store: KeyStore) -> None:
    number = READY_ID
    try:
        while (body := _read_frame(connection)) is not None:
            request = decode_request(body)
            number = request.id
            try:
                answer = Answer(number, OK, perform(store, request))
            except SignerError as error:
                if isinstance(error, ENDING):
                    raise
                answer = failure(number, error)
            _send(connection, answer)
            number = READY_ID
    except SignerError as error:
        _send(connection, failure(number, error))


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


def _spec(parts: tuple[bytes, ...]) -> KeySpec:
    return KeySpec.parse(_only(parts).decode(errors="replace"))


def _only(parts: tuple[bytes, ...]) -> bytes:
    if len(parts) != 1:
        raise WireError("this is asked for in one part")
    return parts[0]


def _read_frame(connection: socket.socket) -> bytes | None:
    """Return the next frame's body, None where the other side has gone."""
    header = _read(connection, LENGTH_BYTES)
    return None if header is None else _read(connection, body_length(header))


def _read(connection: socket.socket, length: int) -> bytes | None:
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        received = connection.recv_into(view)
        if not received:
            return None
        view = view[received:]
    return bytes(buffer)


def _send(connection: socket.socket, answer: Answer) -> None:
    connection.sendall(frame(encode_answer(answer)))


def main(arguments: list[str]) -> int:
    """Serve on the socket whose descriptor is the one argument; return the exit status."""
    protect_process()
    with socket.socket(fileno=int(arguments[0])) as connection:
        try:
            serve(connection)
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the server went away while it was being answered
        except Exception as error:  # noqa: BLE001 - the outermost handler; a traceback could show secrets
            sys.stderr.write(f"signer worker: ended by {type(error).__name__}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
