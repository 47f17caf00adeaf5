"""Public files: names, header fields, conditions, and their replacement while they are served."""

import asyncio
import hashlib
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from public_folder import FOREVER, NOW, Folder, crl_until, lines

from pkiserver.web.public_files import CHECK_S, INLINE_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
VARY = {"Vary": "Accept-Encoding"}


@pytest.mark.parametrize(
    ("name", "media_type", "kept_s", "further"),
    [
        ("crl/citizen.crl", "application/pkix-crl", 0, VARY),
        ("crl/citizen-12.delta.crl", "application/pkix-crl", 0, VARY),
        ("crl/A-1_b.2.crl", "application/pkix-crl", 0, VARY),
        ("ca/root.cer", "application/pkix-cert", 3600, {}),
        ("ca/root.p7c", "application/pkcs7-mime", 3600, {}),
        ("ca/chain.pem", "application/pem-certificate-chain", 3600, NO_SNIFFING),
        ("register/2026-02-28.csv", "text/csv; charset=utf-8", 60, VARY | NO_SNIFFING),
        ("register/2026-02-28.csv.gz", "application/gzip", 60, {}),
    ],
)
def test_a_file_is_served_with_type_and_validators(
    folder: Folder, name: str, media_type: str, kept_s: int, further: dict[str, str]
) -> None:
    folder.write(name, b"content")
    for method in (b"GET", b"HEAD"):
        reply = folder.ask(b"/" + name.encode(), method)
        assert (reply.status, reply.body) == (b"200 OK", b"content")  # HTTP leaves it out on HEAD
        kept = f"max-age={kept_s}, public, no-transform, must-revalidate"
        assert lines(reply) == {
            "Content-Type": media_type,
            "Content-Length": "7",
            "Accept-Ranges": "bytes",
            "Last-Modified": "Sat, 28 Feb 2026 23:59:59 GMT",
            "ETag": f'"{hashlib.sha256(b"content").hexdigest()}"',
            # What is no CRL at all is not kept either: its nextUpdate is not known.
            "Cache-Control": kept if kept_s else "no-cache, no-transform",
            "Expires": f"Sun, 01 Mar 2026 {12 + kept_s // 3600}:{kept_s // 60 % 60:02}:00 GMT",
            **further,
        }


@pytest.mark.parametrize("page", ["crl", "register"])
def test_a_page_has_nothing_from_elsewhere_and_no_script(folder: Folder, page: str) -> None:
    folder.write(f"{page}/index.html", b"<!DOCTYPE html>")
    for path in (f"/{page}/", f"/{page}/index.html"):
        reply = folder.ask(path.encode())
        assert reply.body == b"<!DOCTYPE html>"
        fields = lines(reply)
        assert fields["Content-Type"] == "text/html; charset=utf-8"
        assert fields["X-Content-Type-Options"] == "nosniff"
        assert fields["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline';")
        assert "frame-ancestors 'none'" in fields["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("next_update", "kept", "expires"),
    [
        (NOW + timedelta(days=1), "max-age=60, public, no-transform, must-revalidate", "12:01:00"),
        (NOW + timedelta(seconds=61), "max-age=60, public, no-transform, must-revalidate", "12:01:00"),
        (NOW + timedelta(seconds=60), "max-age=59, public, no-transform, must-revalidate", "12:00:59"),
        (NOW + timedelta(seconds=2), "max-age=1, public, no-transform, must-revalidate", "12:00:01"),
        (NOW + timedelta(seconds=1), "no-cache, no-transform", "12:00:00"),
        (NOW, "no-cache, no-transform", "12:00:00"),
        (NOW - timedelta(hours=1), "no-cache, no-transform", "12:00:00"),
        (FOREVER, "max-age=60, public, no-transform, must-revalidate", "12:01:00"),
    ],
)
def test_a_crl_is_never_kept_past_its_next_update(
    folder: Folder, next_update: datetime, kept: str, expires: str
) -> None:
    """And is served past it all the same: who may go on with an old one is the relying party's to say."""
    crl = crl_until(next_update)
    folder.write("crl/a.crl", crl)
    fields = lines(folder.ask(b"/crl/a.crl"))
    assert (fields["Cache-Control"], fields["Expires"]) == (kept, f"Sun, 01 Mar 2026 {expires} GMT")
    again = folder.ask(b"/crl/a.crl", if_none_match=fields["ETag"].encode())
    assert again.status == b"304 Not Modified"
    assert lines(again)["Cache-Control"] == kept
    assert folder.ask(b"/crl/a.crl").body == crl


def test_what_is_said_of_keeping_follows_the_time(folder: Folder) -> None:
    folder.write("crl/a.crl", crl_until(NOW + timedelta(seconds=30)))
    for elapsed, kept in ((0, "max-age=29"), (10, "max-age=19"), (40, "no-cache")):
        reply = folder.ask(b"/crl/a.crl", now=NOW + timedelta(seconds=elapsed))
        assert lines(reply)["Cache-Control"].startswith(f"{kept}, ")


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


# ---- Large files

LARGE = crl_until(NOW + timedelta(days=1), bytes(INLINE_BYTES))
NEWER = crl_until(NOW + timedelta(days=2), bytes(INLINE_BYTES))


async def test_a_large_file_is_promised_and_known_from_then_on(folder: Folder) -> None:
    folder.write("crl/a.crl", LARGE)
    promised = [folder.answer(b"/crl/a.crl") for _ in range(3)]
    assert all(isinstance(answer, asyncio.Future) for answer in promised)
    promised[0].cancel()  # one client gives up: the others' answer comes
    bodies = [(await answer).body for answer in promised[1:]]
    assert bodies == [LARGE, LARGE]
    assert bodies[0] is bodies[1] is folder.ask(b"/crl/a.crl").body
    assert lines(folder.ask(b"/crl/a.crl"))["Cache-Control"].startswith("max-age=60, ")


async def test_a_large_file_replaced_is_served_as_it_was_while_the_new_one_is_read(folder: Folder) -> None:
    folder.write("crl/a.crl", LARGE)
    await folder.answer(b"/crl/a.crl")
    folder.write("crl/a.crl", NEWER)
    folder.elapsed += CHECK_S
    assert folder.ask(b"/crl/a.crl").body == LARGE
    async with asyncio.timeout(10):
        while folder.ask(b"/crl/a.crl").body != NEWER:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    assert hashlib.sha256(NEWER).hexdigest().encode() in folder.ask(b"/crl/a.crl").fields


async def test_a_large_file_that_goes_away_is_gone(folder: Folder) -> None:
    folder.write("crl/a.crl", LARGE)
    await folder.answer(b"/crl/a.crl")
    (folder.path / "crl" / "a.crl").unlink()
    folder.elapsed += CHECK_S
    assert folder.ask(b"/crl/a.crl").status == b"404 Not Found"
