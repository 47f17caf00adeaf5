"""Webhooks: signed events, each at least once, to allowed hosts alone; a silent receiver holds up nobody."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.schema_webhooks import Webhooks as Settings
from pkiserver.core import Core
from pkiserver.errors import ConflictError, DeniedError, NotFoundError, RefusedError, UnavailableError
from pkiserver.ra.letters.outbox import LETTERS, Medium
from pkiserver.ra.letters.postman import Postman
from pkiserver.ra.letters.templates import Templates
from pkiserver.ra.letters.webhook import GuardedResolver, WebhookWay, parse_webhook_url
from pkiserver.ra.lifecycle import Action, Command
from pkiserver.ra.register.services import open_register
from pkiserver.ra.register.webhooks import EVENTS, MAX_WAITING, Webhooks
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.sealed_secrets import SealedSecrets
from protocols.x509.certificate import serial_text
from protocols.x509.names import parse_subject
from store import audit as audit_chain
from store import letters, personal_data
from store.letters import LetterRecord
from tests.conftest import Issue

ADMINISTRATOR = Actor("oyun", (Assignment(Role.ADMINISTRATOR),))
DOCUMENT = Path(__file__).parents[2] / "docs" / "integrators.md"


def documented_check() -> Any:
    """Return the function by which integrators.md has a receiver check a delivery."""
    [block] = re.findall(r"```python\n(.*?def check_delivery.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - the example of our own document
    return names["check_delivery"]


@dataclass
class Receiver:
    """An HTTPS server that takes events, or answers as it is told."""

    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": "https://localhost/"})

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(one["event"], one["serial"]) for _, body in self.got for one in json.loads(body)["events"]]


@dataclass
class House:
    core: Core
    clock: Any
    receiver: Receiver
    url: str
    webhooks: Webhooks
    postman: Postman

    async def delivered(self) -> int:
        """Write the letters that there is news for, and deliver what is due; return how many were tried."""
        while await self.webhooks.write_due():
            pass
        return await self.postman.deliver_due()

    async def letters(self, state: str) -> list[LetterRecord]:
        return await self.core.storage.read(lambda tx: letters.in_state(tx, state, None, 100))


@pytest.fixture
async def house(core: Core, clock: Any, tmp_path: Path) -> AsyncIterator[House]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/events", receiver.take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=_tls(tmp_path))
    settings = Settings(
        hosts=[f"localhost:{server.port}"],
        networks=["127.0.0.0/8", "::1/128"],
        ca_file=str(tmp_path / "tls.pem"),
    )
    outbox = core.registration.outbox
    secrets = SealedSecrets(core.home.credential_key)
    way = WebhookWay(core.storage, clock, secrets, settings, tmp_path)
    register = open_register(
        storage=core.storage,
        clock=clock,
        authorities=core.authorities,
        gate=Gate(core.storage, clock),
        subscribers=(),
        outbox=outbox,
        sealed=secrets,
        webhooks=settings,
    )
    postman = Postman(
        storage=core.storage,
        clock=clock,
        outbox=outbox,
        templates=Templates(tmp_path),
        ways={Medium.WEBHOOK: way},
        patience=timedelta(days=3),
    )
    try:
        url = f"https://localhost:{server.port}/events"
        yield House(core, clock, receiver, url, register.webhooks, postman)
    finally:
        await way.close()
        await server.close()


def _tls(folder: Path) -> ssl.SSLContext:
    key, name = ec.generate_private_key(ec.SECP256R1()), parse_subject("CN=localhost")
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    (folder / "tls.pem").write_bytes(pem)
    (folder / "tls.key").write_bytes(
        pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.key")
    return context


async def test_events_arrive_signed_as_the_document_says(house: House, issue: Issue) -> None:
    await issue(house.core, "before.mn")
    added = await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    record = await issue(house.core, "after.mn")
    await house.core.status_changes.carry_out(
        record.authority, record.serial, Command(Action.SUSPEND), "test"
    )
    assert await house.delivered() == 1
    serial = serial_text(record.serial)
    assert house.receiver.events == [("issued", serial), ("suspended", serial)]
    ((headers, body),) = house.receiver.got
    check, now = documented_check(), house.clock.moment.timestamp()
    assert check(added.secret, headers, body, now) is None
    for wrong in (
        (added.secret, headers, body + b" ", now),
        (added.secret, headers | {"webhook-id": "letter-99"}, body, now),
        (added.secret, headers, body, now + 301),
        ("whsec_" + "A" * 43 + "=", headers, body, now),
    ):
        with pytest.raises(ValueError, match="webhook"):
            check(*wrong)
    assert await house.delivered() == 0


async def test_a_failing_receiver_is_tried_again_with_the_same_id(house: House, issue: Issue) -> None:
    await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    house.receiver.answers = [503, 302]
    await issue(house.core)
    for _ in range(2):
        assert await house.delivered() == 1
        (waiting,) = await house.letters("waiting")
        assert await house.delivered() == 0
        house.clock.moment = waiting.next_at
    assert waiting.failure == "the webhook said 302"
    assert await house.delivered() == 1
    first, second, third = house.receiver.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"] == third[0]["webhook-id"]
    assert first[1] == second[1] == third[1]
    assert third[0]["webhook-timestamp"] != first[0]["webhook-timestamp"]


async def test_what_was_given_up_is_seen_and_sent_once_more(house: House, issue: Issue) -> None:
    added = await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    record = await issue(house.core)
    house.receiver.answers = [500, 500]
    assert await house.delivered() == 1
    house.clock.moment += timedelta(days=4)
    assert await house.delivered() == 1
    (dead,) = await house.letters("given_up")
    assert (dead.medium, dead.failure) == ("webhook", "the webhook said 500")
    assert dead.about.startswith(f"webhook/{added.record.id}/0/")
    start = f"{added.record.written.sequence}-{added.record.written.expiry}"
    await house.webhooks.resend(ADMINISTRATOR, added.record.id, start)
    assert await house.delivered() == 1
    assert house.receiver.events[-1] == ("issued", serial_text(record.serial))
    for behind in ("999999-0", "0-999999"):  # no expiry would ever be sent again
        with pytest.raises(RefusedError, match="behind"):
            await house.webhooks.resend(ADMINISTRATOR, added.record.id, behind)


async def test_no_event_is_left_out_when_it_breaks_in_between(house: House, issue: Issue) -> None:
    """The letter and the note of how far letters go are one transaction: both or none."""
    await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    record = await issue(house.core)
    outbox_write = house.webhooks._outbox.write

    def broken(tx: Any, letter: Any, now: Any) -> int | None:
        outbox_write(tx, letter, now)
        raise UnavailableError("the disk is full")

    house.webhooks._outbox.write = broken  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="the disk is full"):
        await house.webhooks.write_due()
    assert await house.letters("waiting") == []
    house.webhooks._outbox.write = outbox_write  # type: ignore[method-assign]
    assert await house.delivered() == 1
    assert house.receiver.events == [("issued", serial_text(record.serial))]


async def test_for_a_silent_receiver_the_register_keeps_what_follows(house: House, issue: Issue) -> None:
    added = await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    await issue(house.core)
    written = 0
    for _ in range(MAX_WAITING + 3):
        written += await house.webhooks.write_due()
        await house.webhooks.resend(ADMINISTRATOR, added.record.id, "0-0")
    assert written == MAX_WAITING
    await house.postman.deliver_due()
    assert await house.webhooks.write_due() == 1


async def test_many_events_go_in_one_letter(house: House, issue: Issue) -> None:
    added = await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    await asyncio.gather(*(issue(house.core, f"{number}.mn") for number in range(EVENTS + 2)))
    assert await house.delivered() == 2
    assert sorted(len(json.loads(body)["events"]) for _, body in house.receiver.got) == [2, EVENTS]
    assert len(set(house.receiver.events)) == EVENTS + 2
    assert added.record.written.sequence > 0


async def test_the_secret_is_told_once(house: House, issue: Issue) -> None:
    added = await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    assert added.secret not in repr(added)
    assert added.secret not in repr(await house.webhooks.every(ADMINISTRATOR))
    await issue(house.core)
    await house.delivered()
    records = await house.core.storage.read(lambda tx: audit_chain.after(tx, 0, 1000))
    assert not [one for one in records if added.secret[6:] in f"{one.detail}{one.personal}"]
    for path in house.core.home.path.glob("*.db*"):
        assert added.secret[6:].encode() not in path.read_bytes()
    sent = (await house.letters("sent"))[0]
    assert await house.core.storage.read(lambda tx: personal_data.of_row(tx, LETTERS, sent.id)) == {}


async def test_a_removed_webhook_is_told_nothing(house: House, issue: Issue) -> None:
    added = await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    await issue(house.core)
    await house.webhooks.write_due()
    await house.webhooks.remove(ADMINISTRATOR, added.record.id)
    assert await house.delivered() == 1
    (dead,) = await house.letters("given_up")
    assert (dead.failure, house.receiver.got) == ("the webhook was removed", [])
    with pytest.raises(NotFoundError):
        await house.webhooks.remove(ADMINISTRATOR, added.record.id)
    again = await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    assert again.record.id != added.record.id


async def test_a_name_is_used_once_and_administrators_alone_add(house: House) -> None:
    await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    with pytest.raises(ConflictError):
        await house.webhooks.add(ADMINISTRATOR, "e-mongolia", house.url)
    for role in (Role.REGISTRAR, Role.AUDITOR, Role.SERVICE, Role.NATIONAL_FUND):
        with pytest.raises(DeniedError):
            await house.webhooks.add(Actor("x", (Assignment(role, everywhere=True),)), "x", house.url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.mn/",
        "https://api.example.mn:8443/",
        "https://api.example.mn.evil.example/",
        "https://evil.example/",
        "https://user@api.example.mn/",
        "https://api.example.mn@evil.example/",
        "https://evil.example\\@api.example.mn/",
        "https://api.example.mn/?to=x",
        "https://api.example.mn/#x",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://api.example.mn:x/",
        "https://api.example.mn/\n",
        "https://апи.example.mn/",
        "file:///etc/passwd",
        "https://",
        "",
        "https://api.example.mn/" + "x" * 500,
    ],
)
def test_what_is_no_place_to_push_to(url: str) -> None:
    with pytest.raises(RefusedError):
        parse_webhook_url(url, ["api.example.mn"])


def test_allowed_hosts() -> None:
    for url, host in (("https://api.example.mn/x/y", "api.example.mn"), ("https://a.mn:8443/", "a.mn:8443")):
        assert parse_webhook_url(url, [host]) == url


class Names:
    """A resolver that gives what it is told."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, _family: Any = None) -> list[dict[str, Any]]:
        return [{"hostname": host, "host": one, "port": port} for one in self._addresses]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1"),
        *("::1", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::", "224.0.0.1", "ff02::1"),
        *("192.0.2.1", "255.255.255.255", "2001:db8::1", "::ffff:10.1.0.5"),
    ],
)
async def test_a_name_that_leads_inside_is_not_followed(address: str) -> None:
    names: Any = Names(address)
    with pytest.raises(OSError, match="no address that is allowed"):
        await GuardedResolver([ip_network("10.1.1.0/24")], names).resolve("api.example.mn", 443)


async def test_addresses_that_are_followed() -> None:
    names: Any = Names("103.48.116.1", "10.1.1.7", "127.0.0.1", "2606:4700::1")
    found = await GuardedResolver([ip_network("10.1.1.0/24")], names).resolve("api.example.mn", 443)
    assert [one["host"] for one in found] == ["103.48.116.1", "10.1.1.7", "2606:4700::1"]
