"""Range and Accept-Encoding fields: what each form of them asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.web.http_selection import byte_range, prefers_gzip

LENGTH = 100


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        (b"bytes=0-0", range(1)),
        (b"bytes=0-99", range(100)),
        (b"bytes=99-", range(99, 100)),
        (b"bytes=5-1000000", range(5, 100)),
        (b"bytes=-1", range(99, 100)),
        (b"bytes=-1000", range(100)),
        (b"bytes= 1-2 ", range(1, 3)),
        (b"BYTES=1-2", range(1, 3)),
        (b"bytes=-0", range(0)),
        (b"bytes=100-", range(0)),
        (b"bytes=100-200", range(0)),
        (b"bytes=5-4", None),
        (b"bytes=0-1,3-4", None),
        (b"bytes=0-1,", None),
        (b"bytes=0-1, bytes=2-3", None),
        (b"bytes=-", None),
        (b"bytes=", None),
        (b"bytes", None),
        (b"bytes=+1-2", None),
        (b"bytes=1- 2", None),
        (b"bytes=0x1-2", None),
        (b"items=0-1", None),
        (b"bytes=0-" + b"9" * 5000, None),
        (b"", None),
    ],
)
def test_a_range_is_taken_as_the_rfc_has_it(asked: bytes, want: range | None) -> None:
    found = byte_range(asked, LENGTH)
    assert (found is None) == (want is None)
    assert list(found or ()) == list(want or ())


@given(
    st.text("bytes=-,0123456789 ", max_size=20).map(str.encode) | st.binary(max_size=20), st.integers(0, 300)
)
def test_a_range_is_within_the_file(asked: bytes, length: int) -> None:
    found = byte_range(asked, length)
    assert found is None or not found or (found.start >= 0 and found.stop <= length and found.step == 1)


@pytest.mark.parametrize("asked", [b"bytes=0-", b"bytes=-1", b"bytes=0-0"])
def test_an_empty_file_has_no_part(asked: bytes) -> None:
    assert not byte_range(asked, 0)


@pytest.mark.parametrize(
    ("accepted", "want"),
    [
        (b"gzip", True),
        (b"GZIP", True),
        (b"x-gzip", True),
        (b"gzip, deflate, br", True),
        (b"deflate, gzip;q=0.1", True),
        (b"gzip;q=1.000", True),
        (b"gzip ; q=0.5", True),
        (b"*", True),
        (b"*;q=0.1", True),
        (b"gzip;q=0.5, identity;q=0.5", True),
        (b"identity;q=0, gzip", True),
        (b"", False),
        (b"identity", False),
        (b"br", False),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"gzip;q=0, *", False),
        (b"*;q=0", False),
        (b"gzip;q=0.5, identity", False),
        (b"gzip;q=2", False),
        (b"gzip;q=0.1234", False),
        (b"gzip;level=9", False),
        (b"gzipped", False),
    ],
)
def test_gzip_is_sent_to_who_takes_it(accepted: bytes, want: bool) -> None:
    assert prefers_gzip(accepted) is want
