"""Letters: written with what they tell of, delivered at least once to real servers that fail now and then."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from pkiserver.core import Core
from pkiserver.errors import UnavailableError
from pkiserver.progress import silent
from pkiserver.ra.cases.rules import GROUNDS
from pkiserver.ra.letters.media import FileSink, Message, Outcome
from pkiserver.ra.letters.notices import GROUNDS_MN
from pkiserver.ra.letters.outbox import LETTERS, Letter, Medium, Outbox
from pkiserver.ra.letters.postman import BATCH, Postman, pause_after
from pkiserver.ra.letters.sms_gateway import SMSGateway, SMSWay
from pkiserver.ra.letters.smtp import SMTPServer, SMTPWay
from pkiserver.ra.letters.templates import LANGUAGES, SHIPPED, Templates
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store import letters as rows
from store import personal_data
from store.letters import LetterRecord

HOUR = timedelta(hours=1)
VALUES = {"serial": "0A", "at": "2026-07-09 15:00", "ground": "эзэмшигчийн хүсэлт"}


@dataclass
class Mailbox:
    """A mail server that takes letters, or answers as it is told."""

    answers: list[str] = field(default_factory=list)  # the next ones; empty: it takes the letter
    letters: list[Any] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(envelope.content, bytes)
        self.letters.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"


@dataclass
class Setup:
    core: Core
    clock: Any
    outbox: Outbox
    home: Path
    mailbox: Mailbox
    way: SMTPWay

    def postman(self, **ways: Any) -> Postman:
        return Postman(
            storage=self.core.storage,
            clock=self.clock,
            outbox=self.outbox,
            templates=Templates(self.home / "letters"),
            ways={Medium(name): way for name, way in ({"mail": self.way} | ways).items()},
            patience=24 * HOUR,
        )

    async def write(self, about: str = "event/1", **more: Any) -> int | None:
        letter = Letter(
            about=about,
            template=more.pop("template", "certificate-suspended"),
            medium=more.pop("medium", Medium.MAIL),
            to=more.pop("to", "dorj@example.mn"),
            values=more.pop("values", VALUES),
            **more,
        )
        now = self.clock.now()
        return await self.core.storage.write(lambda tx: self.outbox.write(tx, letter, now))

    async def record(self, letter: int | None) -> LetterRecord:
        found = await self.core.storage.read(lambda tx: rows.get(tx, letter or 0))
        assert found is not None
        return found

    async def kept(self, letter: int | None) -> dict[str, bytes]:
        return await self.core.storage.read(lambda tx: personal_data.of_row(tx, LETTERS, letter or 0))


@pytest.fixture
async def setup(core: Core, clock: Any, tmp_path: Path) -> AsyncIterator[Setup]:
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        way = SMTPWay(SMTPServer("127.0.0.1", port, "ca@example.mn", "none", connections=2))
        data = PersonalData(core.home.personal_data_key)
        yield Setup(core, clock, Outbox(data), tmp_path, mailbox, way)
        await way.close()
    finally:
        server.close()


async def test_a_letter_arrives_and_what_it_said_is_removed(setup: Setup) -> None:
    written = await setup.write()
    assert set(await setup.kept(written)) == {"to", "values"}
    assert await setup.postman().deliver_due() == 1
    (mail,) = setup.mailbox.letters
    assert (mail["To"], mail["From"]) == ("dorj@example.mn", "ca@example.mn")
    assert mail["Subject"] == "Тоон гарын үсгийн гэрчилгээг түдгэлзүүллээ"
    assert (mail["Message-ID"], mail["Auto-Submitted"]) == (
        f"<letter-{written}@example.mn>",
        "auto-generated",
    )
    assert "Гэрчилгээний дугаар: 0A" in mail.get_content()
    record = await setup.record(written)
    assert (record.state, record.attempts, await setup.kept(written)) == ("sent", 1, {})
    assert await setup.postman().deliver_due() == 0


async def test_about_the_same_there_is_one_letter(setup: Setup) -> None:
    assert await setup.write() is not None
    assert await setup.write() is None
    assert await setup.write(medium=Medium.SMS) is not None


async def test_a_letter_goes_with_the_transaction_that_wrote_it(setup: Setup) -> None:
    now = setup.clock.now()

    def fails(tx: Any) -> None:
        setup.outbox.write(tx, Letter("event/1", "certificate-suspended", Medium.MAIL, "a@b.mn", VALUES), now)
        raise UnavailableError("not to be")

    with pytest.raises(UnavailableError, match="not to be"):
        await setup.core.storage.write(fails)
    assert await setup.postman().deliver_due() == 0


async def test_a_failing_server_is_tried_again_later_and_later(setup: Setup) -> None:
    setup.mailbox.answers = ["451 4.3.0 dorj@example.mn is unknown here today"] * 2
    written = await setup.write()
    waits = []
    for _ in range(2):
        assert await setup.postman().deliver_due() == 1
        assert await setup.postman().deliver_due() == 0
        record = await setup.record(written)
        assert (record.state, record.failure) == ("waiting", "the mail server said 451 4.3.0")
        waits.append(record.next_at - setup.clock.moment)
        setup.clock.moment = record.next_at
    assert waits[1] > waits[0] > timedelta(seconds=20)
    assert await setup.postman().deliver_due() == 1
    assert len(setup.mailbox.letters) == 1
    assert (await setup.record(written)).state == "sent"


@pytest.mark.parametrize("answer", ["550 5.1.1 no such user", "552 too big"])
async def test_what_the_server_refuses_for_good_is_given_up(setup: Setup, answer: str) -> None:
    setup.mailbox.answers = [answer]
    written = await setup.write()
    await setup.postman().deliver_due()
    record = await setup.record(written)
    assert (record.state, await setup.kept(written)) == ("given_up", {})
    assert record.failure is not None
    assert record.failure.startswith("the mail server said 55")


async def test_a_server_that_is_away_is_waited_for_and_patience_ends(setup: Setup) -> None:
    gone = SMTPWay(SMTPServer("127.0.0.1", 9, "ca@example.mn", "none"))
    written = await setup.write()
    await setup.postman(mail=gone).deliver_due()
    assert (await setup.record(written)).state == "waiting"
    setup.clock.moment += 25 * HOUR
    await setup.postman(mail=gone).deliver_due()
    assert (await setup.record(written)).state == "given_up"


async def test_a_secret_does_not_wait_for_ever(setup: Setup) -> None:
    written = await setup.write(lives=HOUR)
    setup.clock.moment += HOUR
    await setup.postman().deliver_due()
    record = await setup.record(written)
    assert (record.state, record.failure, setup.mailbox.letters) == ("given_up", "too late to be told", [])
    assert await setup.kept(written) == {}


@dataclass
class Crashing:
    """Hands over, and then the process is gone."""

    way: SMTPWay

    async def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        await self.way.deliver(messages)
        raise KeyboardInterrupt

    async def close(self) -> None: ...


async def test_at_least_once(setup: Setup) -> None:
    """Handed over and not noted: it goes again, with the same Message-ID."""
    await setup.write()
    with pytest.raises(KeyboardInterrupt):
        await setup.postman(mail=Crashing(setup.way)).deliver_due()
    await setup.postman().deliver_due()
    first, second = setup.mailbox.letters
    assert first["Message-ID"] == second["Message-ID"]


async def test_a_letter_that_waits_is_encrypted_anew_with_the_key(setup: Setup) -> None:
    registration = setup.core.registration
    setup.outbox = registration.outbox
    written = await setup.write()
    before, old = await setup.kept(written), setup.core.home.personal_data_key.read_text()
    administrator = Actor("administrator", (Assignment(Role.ADMINISTRATOR),))
    replaced = await registration.data_key.rotate(administrator, silent)
    after, new = await setup.kept(written), setup.core.home.personal_data_key.read_text()
    assert (replaced, after.keys()) == (2, before.keys())
    assert not set(before.values()) & set(after.values())
    assert old != new
    setup.outbox = Outbox(PersonalData(setup.core.home.personal_data_key))  # as after a restart
    await setup.postman().deliver_due()
    (mail,) = setup.mailbox.letters
    assert mail["To"] == "dorj@example.mn"
    assert "0A" in mail.get_content()


async def test_many_letters_go_in_batches(setup: Setup) -> None:
    for number in range(BATCH + 3):
        await setup.write(f"event/{number}")
    assert [await setup.postman().deliver_due() for _ in range(3)] == [BATCH, 3, 0]
    assert len({mail["Message-ID"] for mail in setup.mailbox.letters}) == BATCH + 3


@pytest.mark.parametrize("to", ["a@b.mn\r\nBcc: all@b.mn", "no address", ""])
async def test_an_address_that_is_none_is_given_up_without_being_told(setup: Setup, to: str) -> None:
    written = await setup.write(to=to)
    await setup.postman().deliver_due()
    record = await setup.record(written)
    assert (record.state, record.failure) == ("given_up", "the address or the subject is none")
    assert setup.mailbox.letters == []


async def test_the_operators_template_goes_first(setup: Setup) -> None:
    folder = setup.home / "letters"
    folder.mkdir()
    (folder / "certificate-suspended.mn.mail").write_text("Subject {{ serial }}\n\nText {{ at }}\n")
    await setup.write()
    await setup.postman().deliver_due()
    assert setup.mailbox.letters[0]["Subject"] == "Subject 0A"


@pytest.mark.parametrize(
    "broken",
    [
        "no empty line",
        "two\nlines\n\ntext",
        "subject\n\n{{ unknown }}",
        "subject\n\n{{ serial.__class__.__mro__ }}",
        "subject\n\n{{",
        "subject\n\n" + "x" * 20_001,
    ],
)
async def test_a_broken_template_is_mended_and_the_letter_goes(setup: Setup, broken: str) -> None:
    folder = setup.home / "letters"
    folder.mkdir()
    (folder / "certificate-suspended.mn.mail").write_text(broken)
    written = await setup.write()
    await setup.postman().deliver_due()
    record = await setup.record(written)
    assert (record.state, setup.mailbox.letters) == ("waiting", [])
    assert record.failure is not None
    assert "certificate-suspended.mn.mail" in record.failure
    assert "0A" not in record.failure
    (folder / "certificate-suspended.mn.mail").unlink()
    setup.clock.moment = record.next_at
    await setup.postman().deliver_due()
    assert len(setup.mailbox.letters) == 1


def test_every_shipped_template_can_be_filled_in_both_languages(tmp_path: Path) -> None:
    names = {tuple(path.name.split(".")) for path in SHIPPED.iterdir()}
    templates = {(name, medium) for name, _, medium in names}
    assert names == {(name, language, medium) for name, medium in templates for language in LANGUAGES}
    for name, language, medium in names:
        names_of_others = (
            *("sequence", "hash", "installation", "head"),
            *("pin", "puk", "challenge", "token", "minutes"),
        )
        values = dict.fromkeys(names_of_others, "1") | VALUES
        words = Templates(tmp_path).fill(name, language, Medium(medium), values)
        assert words.text.strip()


def test_every_ground_has_its_words() -> None:
    assert set(GROUNDS_MN) == set(GROUNDS)


def test_pauses_grow_to_their_bound() -> None:
    assert [pause_after(n) > pause_after(n - 2) for n in range(2, 9)] == [True] * 7
    assert pause_after(1000) <= 1.2 * 6 * HOUR


async def test_the_file_takes_what_no_way_takes(setup: Setup, tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    await setup.write()
    await setup.postman(mail=FileSink(path)).deliver_due()
    (line,) = path.read_text().splitlines()
    assert (json.loads(line)["to"], path.stat().st_mode & 0o777) == ("dorj@example.mn", 0o600)


async def test_a_file_that_is_a_link_is_not_followed(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "letters.jsonl").symlink_to(tmp_path / "elsewhere")
    (outcome,) = await FileSink(tmp_path / "letters.jsonl").deliver([Message(1, "a@b.mn", "s", "t")])
    assert outcome.failure is not None
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("status", "state"), [(202, "sent"), (503, "waiting"), (429, "waiting"), (422, "given_up")]
)
async def test_sms_by_an_http_gateway(
    setup: Setup, aiohttp_server: Any, tmp_path: Path, status: int, state: str
) -> None:
    got: list[tuple[str | None, Any]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.headers.get("Authorization"), await request.json()))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/sms", take)
    server = await aiohttp_server(app)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "pin.mn.sms").write_text("PIN {{ pin }}\n")
    (tmp_path / "token").write_text("abc\n")
    way = SMSWay(SMSGateway(str(server.make_url("/sms")), token_file=tmp_path / "token"))
    written = await setup.write(template="pin", medium=Medium.SMS, to="+97699112233", values={"pin": "1234"})
    await setup.postman(sms=way).deliver_due()
    await way.close()
    assert got == [
        ("Bearer abc", {"id": f"letter-{written}", "to": "+97699112233", "text": "PIN 1234"}),
    ]
    assert (await setup.record(written)).state == state
