"""Parts and codings of public files: which are sent, which are refused, and by which validators."""

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from public_folder import WRITTEN, Folder, lines

from pkiserver.web.public_files import CHECK_S


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# ---- Parts (RFC 9110 §14)

CONTENT = bytes(range(200))
TAG = b'"%b"' % hashlib.sha256(CONTENT).hexdigest().encode()
WRITTEN_DATE = b"Sat, 28 Feb 2026 23:59:59 GMT"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [(b"bytes=0-9", 0, 9), (b"bytes=190-", 190, 199), (b"bytes=-5", 195, 199), (b"Bytes=199-500", 199, 199)],
)
def test_a_part_is_sent_as_such(folder: Folder, asked: bytes, first: int, last: int) -> None:
    folder.write("crl/a.crl", CONTENT)
    reply = folder.ask(b"/crl/a.crl", range=asked)
    assert (reply.status, bytes(reply.body)) == (b"206 Partial Content", CONTENT[first : last + 1])
    fields = lines(reply)
    assert fields["Content-Range"] == f"bytes {first}-{last}/200"
    assert fields["Content-Length"] == str(last + 1 - first)
    assert fields["ETag"] == TAG.decode()
    assert fields["Content-Type"] == "application/pkix-crl"
    assert reply.fields.count(b"Content-Length") == 1


def test_a_part_is_not_a_copy(folder: Folder) -> None:
    folder.write("crl/a.crl", CONTENT)
    part = folder.ask(b"/crl/a.crl", range=b"bytes=1-").body
    assert isinstance(part, memoryview)
    assert part.obj is folder.ask(b"/crl/a.crl").body


@pytest.mark.parametrize("asked", [b"bytes=0-1,5-6", b"bytes=9-5", b"bytes=", b"lines=0-9", b"bytes=a-b"])
def test_several_parts_and_what_is_no_range_are_answered_with_the_whole(folder: Folder, asked: bytes) -> None:
    folder.write("crl/a.crl", CONTENT)
    reply = folder.ask(b"/crl/a.crl", range=asked)
    assert (reply.status, reply.body) == (b"200 OK", CONTENT)


@pytest.mark.parametrize("asked", [b"bytes=200-", b"bytes=200-300", b"bytes=-0"])
def test_a_part_that_there_is_not_is_refused_with_the_length(folder: Folder, asked: bytes) -> None:
    folder.write("crl/a.crl", CONTENT)
    reply = folder.ask(b"/crl/a.crl", range=asked)
    assert reply.status == b"416 Requested Range Not Satisfiable"
    assert lines(reply)["Content-Range"] == "bytes */200"


def test_head_has_no_parts(folder: Folder) -> None:
    folder.write("crl/a.crl", CONTENT)
    reply = folder.ask(b"/crl/a.crl", b"HEAD", range=b"bytes=0-9")
    assert (reply.status, lines(reply)["Content-Length"]) == (b"200 OK", "200")


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (TAG, b"206 Partial Content"),
        (b"W/" + TAG, b"200 OK"),
        (b'"another"', b"200 OK"),
        (WRITTEN_DATE, b"206 Partial Content"),
        (b"Sat, 28 Feb 2026 23:59:58 GMT", b"200 OK"),
        (b"Sun, 01 Mar 2026 00:00:00 GMT", b"200 OK"),
        (b"yesterday", b"200 OK"),
    ],
)
def test_a_part_is_sent_only_of_what_the_client_has(folder: Folder, if_range: bytes, status: bytes) -> None:
    folder.write("crl/a.crl", CONTENT)
    assert folder.ask(b"/crl/a.crl", range=b"bytes=0-9", if_range=if_range).status == status


def test_a_date_is_no_strong_validator_within_its_second(folder: Folder) -> None:
    folder.write("crl/a.crl", CONTENT)
    asked = {"range": b"bytes=0-9", "if_range": WRITTEN_DATE}
    assert folder.ask(b"/crl/a.crl", now=WRITTEN, **asked).status == b"200 OK"
    later = WRITTEN + timedelta(seconds=1)
    assert folder.ask(b"/crl/a.crl", now=later, **asked).status == b"206 Partial Content"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if_match": TAG}, b"206 Partial Content"),
        ({"if_match": b'"x", ' + TAG}, b"206 Partial Content"),
        ({"if_match": b"*"}, b"206 Partial Content"),
        ({"if_match": b'"x"'}, b"412 Precondition Failed"),
        ({"if_match": b"W/" + TAG}, b"412 Precondition Failed"),
        ({"if_unmodified_since": WRITTEN_DATE}, b"206 Partial Content"),
        ({"if_unmodified_since": b"Sat, 28 Feb 2026 23:59:58 GMT"}, b"412 Precondition Failed"),
        ({"if_unmodified_since": b"never"}, b"206 Partial Content"),
        ({"if_match": TAG, "if_none_match": TAG}, b"304 Not Modified"),
        ({"if_match": b'"x"', "if_none_match": TAG}, b"412 Precondition Failed"),
        ({"if_none_match": TAG, "if_range": b'"x"'}, b"304 Not Modified"),
    ],
)
def test_conditions_come_in_their_order(folder: Folder, fields: dict[str, bytes], status: bytes) -> None:
    folder.write("crl/a.crl", CONTENT)
    assert folder.ask(b"/crl/a.crl", range=b"bytes=0-9", **fields).status == status


# ---- Codings (RFC 9110 §12.5.3)

TEXT = b"0123456789" * 100


def test_the_compressed_form_is_another_with_its_own_validator(folder: Folder) -> None:
    folder.write("crl/a.crl", TEXT)
    compressed = folder.compress("crl/a.crl", TEXT)
    reply = folder.ask(b"/crl/a.crl", accept_encoding=b"gzip, br")
    fields, plain = lines(reply), folder.ask(b"/crl/a.crl")
    assert (reply.body, fields["Content-Encoding"]) == (compressed, "gzip")
    assert fields["Content-Length"] == str(len(compressed))
    assert fields["Vary"] == lines(plain)["Vary"] == "Accept-Encoding"
    assert (plain.body, b"Content-Encoding" in plain.fields) == (TEXT, False)
    assert fields["ETag"] != lines(plain)["ETag"]
    tag = fields["ETag"].encode()
    same = folder.ask(b"/crl/a.crl", accept_encoding=b"gzip", if_none_match=tag)
    assert (same.status, lines(same)["Vary"]) == (b"304 Not Modified", "Accept-Encoding")
    assert folder.ask(b"/crl/a.crl", if_none_match=tag).status == b"200 OK"


def test_a_part_is_one_of_the_form_that_is_chosen(folder: Folder) -> None:
    """RFC 9110 §14.2: of the selected representation, and so is If-Range."""
    folder.write("crl/a.crl", TEXT)
    compressed = folder.compress("crl/a.crl", TEXT)
    reply = folder.ask(b"/crl/a.crl", accept_encoding=b"gzip", range=b"bytes=2-")
    fields = lines(reply)
    assert (bytes(reply.body), fields["Content-Encoding"]) == (compressed[2:], "gzip")
    assert fields["Content-Range"] == f"bytes 2-{len(compressed) - 1}/{len(compressed)}"
    plain = lines(folder.ask(b"/crl/a.crl"))["ETag"].encode()
    other = folder.ask(b"/crl/a.crl", accept_encoding=b"gzip", range=b"bytes=2-", if_range=plain)
    assert (other.status, other.body) == (b"200 OK", compressed)


def test_no_compressed_form_is_served_that_is_not_of_this_file(folder: Folder) -> None:
    for content, written in (
        (TEXT, WRITTEN - timedelta(seconds=1)),
        (TEXT[::-1], WRITTEN),
        (TEXT[1:], WRITTEN),
    ):
        folder.write("crl/a.crl", TEXT)
        folder.compress("crl/a.crl", content, written)
        folder.elapsed += CHECK_S
        assert folder.ask(b"/crl/a.crl", accept_encoding=b"gzip").body == TEXT
    (folder.path / "crl" / "a.crl.gz").unlink()
    (folder.path / "crl" / "a.crl.gz").symlink_to("a.crl")
    folder.elapsed += CHECK_S
    assert folder.ask(b"/crl/a.crl", accept_encoding=b"gzip").body == TEXT


def test_the_compressed_form_is_found_when_it_comes_later(folder: Folder) -> None:
    folder.write("crl/a.crl", TEXT)
    assert folder.ask(b"/crl/a.crl", accept_encoding=b"gzip").body == TEXT
    compressed = folder.compress("crl/a.crl", TEXT)
    folder.elapsed += CHECK_S
    assert folder.ask(b"/crl/a.crl", accept_encoding=b"gzip").body == compressed
    folder.write("crl/a.crl", TEXT[::-1], WRITTEN + timedelta(seconds=1))  # the next one, not compressed yet
    folder.elapsed += CHECK_S
    assert folder.ask(b"/crl/a.crl", accept_encoding=b"gzip").body == TEXT[::-1]


def test_a_certificate_is_not_compressed(folder: Folder) -> None:
    folder.write("ca/a.cer", TEXT)
    folder.compress("ca/a.cer", TEXT)
    assert folder.ask(b"/ca/a.cer", accept_encoding=b"gzip").body == TEXT
    assert folder.ask(b"/ca/a.cer.gz").status == b"404 Not Found"
