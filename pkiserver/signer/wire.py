"""Frames between the server and a signer worker: bytes <-> frozen dataclasses, batches in one frame.

A frame is a length of four octets and a body. The worker's are `Answer`s; its first, with id 0, says that it
has loaded what it needs. The first body from the server is then JSON (`SignerSettings.encode`), a second one
the PIN where `asks_pin` says so, every other one a `Request`. The worker's next answer, again with id 0,
tells whether the key store opened. Integers are big-endian:

    Request   id:4  operation:1  label length:1  label  parts
    Answer    id:4  code:1  busy:4  parts
    parts     count:2  (length:4  octets) * count

`busy` is how many microseconds the key store took. An answer of code 0 holds signatures, one
SubjectPublicKeyInfo, labels or nothing; any other code is one of `errors.FAILURES` and the one part is its
message.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from pkiserver.signer.errors import FAILURES, SignerError, WireError, failure_code

MAX_FRAME_BYTES: Final = 64 << 20  # a CRL of a million entries has 50 MB; Ed25519 must see it all
MAX_PARTS: Final = 4096  # what one frame may hold the worker up with
MAX_MESSAGE_BYTES: Final = 1024  # of an error

OK: Final = 0
READY_ID: Final = 0  # of the first two answers and of one to no readable request

_LENGTH: Final = struct.Struct(">I")
_REQUEST_HEAD: Final = struct.Struct(">IBB")
_ANSWER_HEAD: Final = struct.Struct(">IBI")
_MAX_BUSY: Final = 0xFFFFFFFF
_COUNT: Final = struct.Struct(">H")

LENGTH_BYTES: Final = _LENGTH.size


class Operation(IntEnum):
    """What a worker can be asked for."""

    SIGN = 1  # parts: what is to be signed, each by itself
    GENERATE = 2  # one part: the text of a KeySpec
    PUBLIC_KEY = 3
    LABELS = 4  # label empty
    SIGN_DIGEST = 5  # one part: the hash of what is to be signed
    CHECK = 6  # label empty; sign and verify with a key made for nothing else
    REOPEN = 7  # label empty; give up the session, if there still is one, and open another


_OPERATIONS: Final = {one.value: one for one in Operation}


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a worker. `id` is 1 or more and comes back in the answer."""

    id: int
    operation: Operation
    label: str
    parts: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker answers; `code` is `OK` or a code of `errors.FAILURES`."""

    id: int
    code: int
    parts: tuple[bytes, ...] = ()
    busy_us: int = field(default=0, compare=False)


def frame(body: bytes) -> bytes:
    """Return the body with its length before it; `WireError` where it is over `MAX_FRAME_BYTES`."""
    if len(body) > MAX_FRAME_BYTES:
        raise WireError("the frame is too large")
    return _LENGTH.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """Return the length that a frame's first `LENGTH_BYTES` octets announce, bounded as in `frame`."""
    if len(header) != LENGTH_BYTES:
        raise WireError("the frame's length is truncated")
    length: int = _LENGTH.unpack(header)[0]
    if length > MAX_FRAME_BYTES:
        raise WireError("the frame is too large")
    return length


def encode_request(request: Request) -> bytes:
    """Return the body of a request; `WireError` where a part of it passes its bound."""
    label = request.label.encode()
    try:
        head = _REQUEST_HEAD.pack(request.id, request.operation, len(label))
    except struct.error as error:
        raise WireError("the request's id or label is out of range") from error
    return head + label + _encode_parts(request.parts)


def decode_request(body: bytes) -> Request:
    """Return the request in a body; `WireError` for any other bytes."""
    if len(body) < _REQUEST_HEAD.size:
        raise WireError("the request is truncated")
    number, operation, length = _REQUEST_HEAD.unpack_from(body)
    end = _REQUEST_HEAD.size + length
    try:
        label = body[_REQUEST_HEAD.size : end].decode()
        return Request(number, _OPERATIONS[operation], label, _decode_parts(body, end))
    except (KeyError, ValueError) as error:
        raise WireError("the request's operation or label is unknown") from error


def encode_answer(answer: Answer) -> bytes:
    """Return the body of an answer; `WireError` where a part of it passes its bound."""
    try:
        head = _ANSWER_HEAD.pack(answer.id, answer.code, min(answer.busy_us, _MAX_BUSY))
    except struct.error as error:
        raise WireError("the answer's id or code is out of range") from error
    return head + _encode_parts(answer.parts)


def decode_answer(body: bytes) -> Answer:
    """Return the answer in a body; `WireError` for any other bytes."""
    if len(body) < _ANSWER_HEAD.size:
        raise WireError("the answer is truncated")
    number, code, busy_us = _ANSWER_HEAD.unpack_from(body)
    if code != OK and code not in FAILURES:
        raise WireError("the answer's code is unknown")
    return Answer(number, code, _decode_parts(body, _ANSWER_HEAD.size), busy_us)


def failure(number: int, error: SignerError) -> Answer:
    """Return the answer that tells an error: its code and its message of one line."""
    message = " ".join(str(error).split()).encode()[:MAX_MESSAGE_BYTES]
    return Answer(number, failure_code(error), (message,))


def error_of(answer: Answer) -> SignerError:
    """Return the error that an answer with a code other than `OK` tells."""
    message = answer.parts[0].decode(errors="replace") if answer.parts else "no reason given"
    return FAILURES.get(answer.code, SignerError)(message)


def _encode_parts(parts: Sequence[bytes]) -> bytes:
    if len(parts) > MAX_PARTS:
        raise WireError("the frame has too many parts")
    pieces = [_COUNT.pack(len(parts))]
    for part in parts:
        pieces += (_LENGTH.pack(len(part)), part)
    return b"".join(pieces)


def _decode_parts(body: bytes, position: int) -> tuple[bytes, ...]:
    try:
        (count,) = _COUNT.unpack_from(body, position)
        if count > MAX_PARTS:
            raise WireError("the frame has too many parts")
        position += _COUNT.size
        parts = []
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(body, position)
            position += _LENGTH.size
            parts.append(body[position : position + length])
            position += length
    except struct.error as error:
        raise WireError("the frame is truncated") from error
    if position != len(body):
        raise WireError("the frame's parts do not fill it")
    return tuple(parts)
