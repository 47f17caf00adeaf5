"""Public files: names, header fields, conditions, and their replacement while they are served."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pkiserver.web.http_messages import HTTPReply, HTTPRequest
from pkiserver.web.static import CHECK_S, StaticFiles

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WRITTEN = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)


class Folder:
    """A public folder and what serves it, with a clock of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.elapsed = 100.0
        self.files = StaticFiles(path, max_age=timedelta(seconds=60), monotonic=lambda: self.elapsed)

    def write(self, name: str, content: bytes, written: datetime = WRITTEN) -> None:
        """Put a file in its place as the publisher does, by renaming."""
        (self.path / name).parent.mkdir(exist_ok=True)
        fresh = self.path / f"{name}.new"
        fresh.write_bytes(content)
        os.utime(fresh, (written.timestamp(), written.timestamp()))
        fresh.rename(self.path / name)

    def ask(self, path: bytes, method: bytes = b"GET", **fields: bytes) -> HTTPReply:
        named = {name.replace("_", "-").encode(): value for name, value in fields.items()}
        return self.files.handle(HTTPRequest(method, path, named, b""), NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("crl/citizen.crl", "application/pkix-crl"),
        ("crl/A-1_b.2.crl", "application/pkix-crl"),
        ("ca/root.cer", "application/pkix-cert"),
        ("ca/root.p7c", "application/pkcs7-mime"),
    ],
)
def test_a_file_is_served_with_type_and_validators(folder: Folder, name: str, media_type: str) -> None:
    folder.write(name, b"content")
    for method in (b"GET", b"HEAD"):
        reply = folder.ask(b"/" + name.encode(), method)
        assert (reply.status, reply.body) == (b"200 OK", b"content")  # HTTP leaves it out on HEAD
        assert reply.fields.decode().split("\r\n") == [
            f"Content-Type: {media_type}",
            "Content-Length: 7",
            "Last-Modified: Sat, 28 Feb 2026 23:59:59 GMT",
            f'ETag: "{hashlib.sha256(b"content").hexdigest()}"',
            "Cache-Control: max-age=60, public, no-transform, must-revalidate",
            "",
        ]


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/crl/",
        b"/crl/missing.crl",
        b"/crl/.crl",
        b"/crl/.hidden.crl",
        b"/crl/../ca/root.cer",
        b"/crl/..%2fca%2froot.crl",
        b"/crl/a/b.crl",
        b"//crl/there.crl",
        b"/crl/there.crl/",
        b"/crl/there.crl\n",
        b"/crl/there.cer",
        b"/ca/there.crl",
        b"/crl/" + b"a" * 101 + b".crl",
        b"/crl/folder.crl",
        b"/crl/link.crl",
        b"/crl/pipe.crl",
        b"/keys/there.crl",
    ],
)
def test_nothing_else_is_there(folder: Folder, path: bytes) -> None:
    folder.write("crl/there.crl", b"content")
    folder.write("keys/there.crl", b"secret")
    (folder.path / "crl" / "folder.crl").mkdir()
    (folder.path / "crl" / "link.crl").symlink_to("there.crl")
    os.mkfifo(folder.path / "crl" / "pipe.crl")
    assert folder.ask(path).status == b"404 Not Found"


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS"])
def test_files_are_only_read(folder: Folder, method: bytes) -> None:
    folder.write("crl/there.crl", b"content")
    reply = folder.ask(b"/crl/there.crl", method)
    assert reply.status == b"405 Method Not Allowed"
    assert b"Allow: GET, HEAD\r\n" in reply.fields


def test_a_condition_that_holds_gives_304(folder: Folder) -> None:
    folder.write("crl/there.crl", b"content")
    tag = b'"%b"' % hashlib.sha256(b"content").hexdigest().encode()
    for fields in ({"if_none_match": tag}, {"if_modified_since": b"Sat, 28 Feb 2026 23:59:59 GMT"}):
        reply = folder.ask(b"/crl/there.crl", **fields)
        assert (reply.status, reply.body) == (b"304 Not Modified", b"")
        assert b"ETag: " in reply.fields
        assert b"Content-Length" not in reply.fields
    assert folder.ask(b"/crl/there.crl", if_none_match=b'"other"').status == b"200 OK"
    earlier = b"Sat, 28 Feb 2026 23:59:58 GMT"
    assert folder.ask(b"/crl/there.crl", if_modified_since=earlier).status == b"200 OK"


def test_a_file_replaced_is_seen_when_it_is_looked_at_again(folder: Folder) -> None:
    folder.write("crl/a.crl", b"first")
    assert folder.ask(b"/crl/a.crl").body == b"first"
    folder.write("crl/a.crl", b"other")  # the same size and time: another inode tells
    assert folder.ask(b"/crl/a.crl").body == b"first"
    folder.elapsed += CHECK_S
    reply = folder.ask(b"/crl/a.crl")
    assert reply.body == b"other"
    assert hashlib.sha256(b"other").hexdigest().encode() in reply.fields


def test_a_file_removed_is_gone_and_one_that_comes_is_found_at_once(folder: Folder) -> None:
    assert folder.ask(b"/crl/a.crl").status == b"404 Not Found"
    folder.write("crl/a.crl", b"first")
    assert folder.ask(b"/crl/a.crl").status == b"200 OK"
    (folder.path / "crl" / "a.crl").unlink()
    folder.elapsed += CHECK_S
    assert folder.ask(b"/crl/a.crl").status == b"404 Not Found"


def test_last_modified_is_never_after_the_date(folder: Folder) -> None:
    folder.write("crl/a.crl", b"first", written=NOW + timedelta(hours=1))
    assert b"Last-Modified: Sun, 01 Mar 2026 12:00:00 GMT\r\n" in folder.ask(b"/crl/a.crl").fields
