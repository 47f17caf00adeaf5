"""The frames between server and worker, both ways."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.signer import errors
from pkiserver.signer.errors import FAILURES, SignerError, WireError, failure_code
from pkiserver.signer.wire import (
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PARTS,
    OK,
    Answer,
    Operation,
    Request,
    body_length,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    error_of,
    failure,
    frame,
)

REQUESTS = [
    (Request(1, Operation.LABELS, ""), "00000001 04 00 0000"),
    (Request(2, Operation.PUBLIC_KEY, "ca"), "00000002 03 02 6361 0000"),
    (
        Request(0x01020304, Operation.GENERATE, "k", (b"ed25519",)),
        "01020304 02 01 6b 0001 00000007 65643235353139",
    ),
    (Request(9, Operation.SIGN, "k", (b"", b"ab")), "00000009 01 01 6b 0002 00000000 00000002 6162"),
]
ANSWERS = [
    (Answer(0, OK), "00000000 00 00000000 0000"),
    (Answer(5, OK, (b"xy", b"")), "00000005 00 00000000 0002 00000002 7879 00000000"),
    (Answer(6, 2, (b"no key",)), "00000006 02 00000000 0001 00000006 6e6f206b6579"),
]

ids = st.integers(0, 0xFFFFFFFF)
parts = st.lists(st.binary(max_size=40), max_size=5).map(tuple)
labels = st.text(max_size=60).filter(lambda text: len(text.encode()) <= 255)


@pytest.mark.parametrize(("request_", "encoded"), REQUESTS, ids=[row[0].operation.name for row in REQUESTS])
def test_request_both_ways(request_: Request, encoded: str) -> None:
    assert encode_request(request_) == bytes.fromhex(encoded)
    assert decode_request(bytes.fromhex(encoded)) == request_


@pytest.mark.parametrize(("answer", "encoded"), ANSWERS)
def test_answer_both_ways(answer: Answer, encoded: str) -> None:
    assert encode_answer(answer) == bytes.fromhex(encoded)
    assert decode_answer(bytes.fromhex(encoded)) == answer


@given(st.builds(Request, ids, st.sampled_from(Operation), labels, parts))
def test_any_request_both_ways(request_: Request) -> None:
    assert decode_request(encode_request(request_)) == request_


@given(st.builds(Answer, ids, st.sampled_from([OK, *FAILURES]), parts))
def test_any_answer_both_ways(answer: Answer) -> None:
    assert decode_answer(encode_answer(answer)) == answer


@given(st.binary(max_size=60))
def test_only_wire_errors_escape(body: bytes) -> None:
    with suppress(WireError):
        assert encode_request(decode_request(body)) == body
    with suppress(WireError):
        assert encode_answer(decode_answer(body)) == body


@pytest.mark.parametrize("encoded", [row[1] for row in REQUESTS])
def test_truncated_or_longer_request_is_refused(encoded: str) -> None:
    body = bytes.fromhex(encoded)
    for wrong in (*(body[:end] for end in range(len(body))), body + b"\0"):
        with pytest.raises(WireError):
            decode_request(wrong)


@pytest.mark.parametrize(
    "body",
    [
        "00000001 00 00 0000",
        "00000001 08 00 0000",
        "00000001 04 01 ff 0000",
        "00000001 01 00 ffff",
        "00000001 01 00 0001 ffffffff",
    ],
    ids=["operation 0", "operation 8", "label not UTF-8", "too many parts", "part past the end"],
)
def test_bad_request_is_refused(body: str) -> None:
    with pytest.raises(WireError):
        decode_request(bytes.fromhex(body))


def test_unknown_code_is_refused() -> None:
    with pytest.raises(WireError):
        decode_answer(bytes.fromhex("00000001 ff 00000000 0000"))


@pytest.mark.parametrize(
    "request_",
    [
        Request(-1, Operation.LABELS, ""),
        Request(1 << 32, Operation.LABELS, ""),
        Request(1, Operation.SIGN, "x" * 256),
        Request(1, Operation.SIGN, "x", (b"",) * (MAX_PARTS + 1)),
    ],
    ids=["negative id", "large id", "long label", "many parts"],
)
def test_request_over_a_bound_is_not_encoded(request_: Request) -> None:
    with pytest.raises(WireError):
        encode_request(request_)


@given(st.binary(max_size=300))
def test_frame_both_ways(body: bytes) -> None:
    framed = frame(body)
    assert body_length(framed[:LENGTH_BYTES]) == len(body)
    assert framed[LENGTH_BYTES:] == body


def test_frame_over_the_bound_is_refused() -> None:
    assert body_length(MAX_FRAME_BYTES.to_bytes(4, "big")) == MAX_FRAME_BYTES
    for header in ((MAX_FRAME_BYTES + 1).to_bytes(4, "big"), b"\xff\xff\xff\xff", b"\0\0\0", b""):
        with pytest.raises(WireError):
            body_length(header)
    with pytest.raises(WireError):
        frame(bytes(MAX_FRAME_BYTES + 1))


def _subclasses(error: type[SignerError]) -> set[type[SignerError]]:
    return {error}.union(*(_subclasses(one) for one in error.__subclasses__()))


def test_every_error_has_a_code() -> None:
    local = {
        errors.SignerBusyError,
        errors.PlaceholderError,
        errors.WorkerLostError,
        errors.WorkerHungError,
    }
    assert set(FAILURES.values()) == _subclasses(SignerError) - local
    assert OK not in FAILURES


@pytest.mark.parametrize("error", list(FAILURES.values()))
def test_errors_both_ways(error: type[SignerError]) -> None:
    told = error_of(decode_answer(encode_answer(failure(7, error("what happened")))))
    assert type(told) is error
    assert str(told) == "what happened"
    assert told.kind is error.kind


def test_message_is_one_bounded_line() -> None:
    (message,) = failure(1, SignerError("a\nb\r\n" + "я" * 2000)).parts
    assert message.startswith(b"a b ")
    assert len(message) <= MAX_MESSAGE_BYTES
    assert "\n" not in str(error_of(Answer(1, 1, (message,))))


def test_error_without_code_of_its_own_is_a_plain_one() -> None:
    assert failure_code(errors.SignerBusyError("x")) == failure_code(SignerError("x"))
