"""Heads on their way: a file, syslog receivers and mail, each on real sockets, which fail now and then."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from audit_head_steps import add_records, heads_of, kept, outside, verify
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from config.schema_audit import Audit
from config.validation import validate
from pkiserver.audit_heads.signed_head import MAX_HEAD_OCTETS, Outgoing, SignedHead, heads_in
from pkiserver.audit_heads.ways import FileWay
from pkiserver.core import Core
from pkiserver.errors import RefusedError
from pkiserver.ra.letters.media import FileSink
from pkiserver.ra.letters.outbox import Medium
from pkiserver.ra.letters.postman import Postman
from pkiserver.ra.letters.templates import Templates

# RFC 5424 §6: header, one element of structured data, text.
SYSLOG = re.compile(
    rb"<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [!-~]{1,255} pkiserver \d+ audit-head"
    rb' \[auditHead@32473 sequence="(\d+)" hash="([0-9a-f]{64})" installation="[0-9a-f-]{36}"\] cms=[!-~]+'
)
PATIENT = timedelta(days=1)


class DeafWay:
    """A way that fails as often as it is told, and then takes what it is sent."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.taken: list[int] = []

    async def send(self, heads: Sequence[Outgoing]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError(111, "Connection refused")
        self.taken += [one.head.head.sequence for one in heads]


class HungWay:
    """A way that never answers."""

    async def send(self, _heads: Sequence[Outgoing]) -> None:
        await asyncio.Event().wait()


class TestFile:
    async def test_heads_follow_each_other_and_are_private(self, core: Core) -> None:
        heads = heads_of(core, head_records=1)
        await heads.maintain()
        await add_records(core, 1)
        await heads.maintain()
        path = core.home.path / "heads.pem"
        assert path.stat().st_mode & 0o777 == 0o600
        assert await verify(core, outside(core)) == 2
        text = path.read_text()
        assert text.count("\n# audit record ") == 2

    async def test_a_head_that_was_cut_while_it_was_written_is_counted(self, core: Core) -> None:
        heads = heads_of(core, head_records=1)
        await heads.maintain()
        path = core.home.path / "heads.pem"
        path.write_bytes(path.read_bytes()[:-700])
        await add_records(core, 1)
        await heads.maintain()
        found, unreadable = heads_in(path.read_text())
        assert (len(found), unreadable) == (1, 1)
        await verify(core, found)

    async def test_on_a_disk_that_hangs_one_write_waits(
        self, core: Core, clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pkiserver.audit_heads.heads._WAY_DEADLINE_S", 0.05)
        hangs = threading.Event()
        begun: list[int] = []

        def wait(_: FileWay, text: bytes) -> None:
            begun.append(len(text))
            hangs.wait(30)

        monkeypatch.setattr(FileWay, "_append", wait)
        heads = heads_of(core)
        try:
            await heads.maintain()
            assert heads.cause().detail == "file: no answer in time"
            clock.advance(timedelta(seconds=15))
            await heads.maintain()
            assert heads.cause().detail == "file: the write before this one has not ended"
            assert len(begun) == 1
        finally:
            hangs.set()

    async def test_no_link_is_followed(self, core: Core, tmp_path: Path) -> None:
        (core.home.path / "heads.pem").symlink_to(tmp_path / "elsewhere")
        heads = heads_of(core)
        await heads.maintain()
        assert "file: " in heads.cause().detail
        assert not (tmp_path / "elsewhere").exists()


class TestSyslog:
    def received(self, messages: Sequence[bytes]) -> list[bytes]:
        """Return the heads in what a receiver wrote to its log."""
        for message in messages:
            assert SYSLOG.fullmatch(message)
            assert len(message) <= 2048
        log = "".join(f"Nov 22 08:00:00 {one.decode()}\n" for one in messages)
        found, unreadable = heads_in(log)
        assert unreadable == 0
        return found

    async def test_over_udp(self, core: Core) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(10)
            heads = heads_of(core, syslog=[f"udp://127.0.0.1:{receiver.getsockname()[1]}"])
            await heads.maintain()
            message = receiver.recv(4096)
        assert await verify(core, self.received([message])) == 1
        (record,) = await kept(core)
        match = SYSLOG.fullmatch(message)
        assert match is not None
        assert int(match[1]) == record.sequence

    async def test_over_tcp_with_octets_counted(self, core: Core) -> None:
        streams: asyncio.Queue[bytes] = asyncio.Queue()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            streams.put_nowait(await reader.read())
            writer.close()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        async with server:
            receiver = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await heads_of(core, syslog=[receiver]).maintain()
            stream = await asyncio.wait_for(streams.get(), 10)
        length, _, message = stream.partition(b" ")
        assert int(length) == len(message)
        assert await verify(core, self.received([message])) == 1

    async def test_over_a_unix_socket(self, core: Core, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(path))
            receiver.settimeout(10)
            await heads_of(core, syslog=[f"unix://{path}"]).maintain()
            assert await verify(core, self.received([receiver.recv(4096)])) == 1

    async def test_a_receiver_that_is_away(self, core: Core) -> None:
        """It is told of, and the file does not wait for it."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            receiver = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        heads = heads_of(core, head_records=1, syslog=[receiver])
        await heads.maintain()
        assert heads.cause().detail.startswith(f"{receiver}: ")
        assert heads.cause().ok
        assert set(heads.sent) == {"file"}
        assert len(outside(core)) == 1


class TestFollowing:
    async def test_no_head_is_left_out(self, core: Core, clock: Any) -> None:
        way = DeafWay(failures=2)
        heads = heads_of(core, {"deaf": way}, head_records=1)
        sequences = []
        for _ in range(3):
            await heads.maintain()
            sequences.append((await kept(core))[-1].sequence)
            await add_records(core, 1)
        assert (way.failures, way.taken) == (1, [])
        clock.advance(timedelta(seconds=15))
        await heads.maintain()
        assert (way.failures, way.taken) == (0, [])
        clock.advance(timedelta(seconds=15))
        await heads.maintain()
        assert way.taken == []
        clock.advance(timedelta(seconds=15))
        await heads.maintain()
        assert way.taken[:3] == sequences
        assert way.taken == [one.sequence for one in await kept(core)]
        assert heads.cause().detail == ""
        assert heads.sent["deaf"].sequence == way.taken[-1]

    async def test_a_restart_goes_on_where_it_was(self, core: Core) -> None:
        first = DeafWay(0)
        await heads_of(core, {"deaf": first}, head_records=1).maintain()
        await heads_of(core, {"deaf": DeafWay(1)}, head_records=1).maintain()
        await add_records(core, 1)
        again = DeafWay(0)
        await heads_of(core, {"deaf": again}, head_records=1).maintain()
        assert first.taken + again.taken == [one.sequence for one in await kept(core)]

    async def test_a_new_way_begins_with_the_newest(self, core: Core) -> None:
        heads = heads_of(core, head_records=1)
        await heads.maintain()
        await add_records(core, 1)
        await heads.maintain()
        way = DeafWay(0)
        await heads_of(core, {"new": way}).maintain()
        assert way.taken == [(await kept(core))[-1].sequence]

    async def test_one_that_hangs_holds_up_no_other(
        self, core: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pkiserver.audit_heads.heads._WAY_DEADLINE_S", 0.05)
        way = DeafWay(0)
        heads = heads_of(core, {"hung": HungWay(), "deaf": way})
        await heads.maintain()
        assert heads.cause().detail == "hung: no answer in time"
        assert len(way.taken) == 1


class TestMail:
    async def deliver(self, core: Core) -> list[dict[str, Any]]:
        path = core.home.letters
        postman = Postman(
            storage=core.storage,
            clock=core.clock,
            outbox=core.registration.outbox,
            templates=Templates(core.home.letter_templates),
            ways={Medium.MAIL: FileSink(path)},
            patience=PATIENT,
        )
        await postman.deliver_due()
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def test_it_holds_the_head(self, core: Core) -> None:
        heads = heads_of(core, mail=["a@example.mn", "b@example.mn"])
        await heads.maintain()
        mails = await self.deliver(core)
        assert [one["to"] for one in mails] == ["a@example.mn", "b@example.mn"]
        found, unreadable = heads_in(mails[0]["text"])
        assert unreadable == 0
        assert await verify(core, found) == 1
        assert heads.sent["mail"].id == 1

    async def test_no_more_often_than_asked_also_after_a_restart(self, core: Core, clock: Any) -> None:
        for _ in range(3):
            await heads_of(core, mail=["a@example.mn"], mail_interval="3h").maintain()
            clock.advance(timedelta(hours=1))
        assert len(await kept(core)) == 3
        assert len(await self.deliver(core)) == 1
        await heads_of(core, mail=["a@example.mn"], mail_interval="3h").maintain()
        assert len(await self.deliver(core)) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"head_interval": "0s"},
        {"head_records": 0},
        {"head_file": ""},
        {"syslog": ["logs.example.mn:514"]},
        {"syslog": ["udp://logs.example.mn"]},
        {"syslog": ["udp://logs.example.mn:514/path"]},
        {"syslog": ["tcp://user@logs.example.mn:514"]},
        {"syslog": ["tcp://logs.example.mn:99999"]},
        {"syslog": ["unix://dev/log"]},
        {"syslog": ["http://logs.example.mn:80"]},
        {"syslog": ["udp://a:1", "udp://a:1"]},
        {"syslog": [f"udp://a:{port}" for port in range(1, 10)]},
        {"mail": ["nobody"]},
        {"mail": ["a@example.mn, b@example.mn"]},
        {"mail": ["a\n@example.mn"]},
    ],
    ids=str,
)
def test_settings_that_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        validate(Audit, settings, "test")


def test_settings_that_are_taken() -> None:
    syslog = ("udp://10.0.0.1:514", "tcp://[2001:db8::1]:601", "unix:///dev/log")
    assert Audit(syslog=syslog, mail=("a@example.mn",)).syslog == syslog
    assert Audit(head_file="", syslog=syslog).head_file is None


@given(st.binary(max_size=400))
def test_what_is_no_head_is_refused(octets: bytes) -> None:
    with pytest.raises(RefusedError):
        SignedHead.parse(octets)


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(RefusedError, match="too long"):
        SignedHead.parse(bytes(MAX_HEAD_OCTETS + 1))


@given(st.text(alphabet="ABC=\n -cms#END", max_size=300))
def test_any_text_may_hold_heads(text: str) -> None:
    found, unreadable = heads_in(f"-----BEGIN CMS-----{text}")
    assert len(found) + unreadable >= 1
