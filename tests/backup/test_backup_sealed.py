"""The sealed file: what comes back is what went in, or an error of ours."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.backup.sealed import PIECE_OCTETS, DamagedBackupError, SealedReader, SealedWriter
from pkiserver.errors import RefusedError

PASSPHRASE = "correct horse battery"
CHEAP = 10  # of scrypt: the tests guess at nothing
LENGTHS = (0, 1, 1000, PIECE_OCTETS - 1, PIECE_OCTETS, PIECE_OCTETS + 1, 3 * PIECE_OCTETS)
HEADER_OCTETS = 17 + 1 + 16


def sealed(content: bytes) -> bytes:
    out = io.BytesIO()
    writer = SealedWriter(out, PASSPHRASE, cost=CHEAP)
    writer.write(content)
    writer.finish()
    return out.getvalue()


def opened(data: bytes, octets: int, passphrase: str = PASSPHRASE) -> bytes:
    reader = SealedReader(io.BytesIO(data), passphrase)
    found = reader.exactly(octets)
    reader.finish()
    return found


@pytest.mark.parametrize("length", LENGTHS)
def test_both_ways(length: int) -> None:
    content = bytes(range(256)) * (length // 256 + 1)
    if length == 0:
        with pytest.raises(DamagedBackupError):  # there is always a list of files
            opened(sealed(b""), 0)
    else:
        assert opened(sealed(content[:length]), length) == content[:length]


def test_it_can_be_read_again() -> None:
    reader = SealedReader(io.BytesIO(sealed(b"content")), PASSPHRASE)
    assert reader.exactly(7) == b"content"
    reader.rewind()
    assert reader.exactly(7) == b"content"
    reader.finish()


def test_nothing_of_the_content_shows_and_no_file_is_like_another() -> None:
    first, second = sealed(b"a secret of some length"), sealed(b"a secret of some length")
    assert b"secret" not in first
    assert first[HEADER_OCTETS:] != second[HEADER_OCTETS:]


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(DamagedBackupError, match="passphrase"):
        opened(sealed(b"content"), 7, "correct horse batterz")


def test_a_short_passphrase_seals_nothing() -> None:
    out = io.BytesIO()
    with pytest.raises(RefusedError, match="12 characters"):
        SealedWriter(out, "eleven char")
    assert out.getvalue() == b""


def test_a_file_may_not_ask_for_endless_memory() -> None:
    data = bytearray(sealed(b"content"))
    data[17] = 40
    with pytest.raises(DamagedBackupError, match="more work"):
        opened(bytes(data), 7)


SEALED = sealed(b"content")
LONG = sealed(bytes(2 * PIECE_OCTETS + 10))


@given(st.integers(0, len(SEALED) * 8 - 1).filter(lambda bit: bit // 8 != 17))  # 17: the cost, above
@settings(deadline=None, max_examples=60)
def test_any_changed_bit_is_found(bit: int) -> None:
    data = bytearray(SEALED)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedBackupError):
        opened(bytes(data), 7)


@given(st.integers(0, len(SEALED) - 1))
@settings(deadline=None, max_examples=60)
def test_any_cut_is_found(length: int) -> None:
    with pytest.raises(DamagedBackupError):
        opened(SEALED[:length], 7)


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=60)
def test_only_our_error_escapes(data: bytes) -> None:
    with pytest.raises(DamagedBackupError):
        opened(SEALED[:17] + bytes([CHEAP]) + data, 7)


@pytest.mark.parametrize("order", ["01", "102", "02", "0120", "0012"])
def test_pieces_are_held_to_their_places(order: str) -> None:
    """Cut at a piece, swapped, one left out, more behind the end, one twice."""
    piece, begin = 4 + PIECE_OCTETS + 16, HEADER_OCTETS
    parts = (LONG[begin : begin + piece], LONG[begin + piece : begin + 2 * piece], LONG[begin + 2 * piece :])
    spoilt = LONG[:begin] + b"".join(parts[int(number)] for number in order)
    with pytest.raises(DamagedBackupError):
        opened(spoilt, 2 * PIECE_OCTETS + 10)
