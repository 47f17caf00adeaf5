"""The public register over HTTPS: the page, the feed, and that neither tells of anybody."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pkiserver.core import Core
from pkiserver.progress import silent
from pkiserver.status.register import MAX_HISTORY, MAX_PAGE, Register
from pkiserver.web.register import register_routes
from store import status_events
from tests.web.https_harness import Certificates, Reply, curl, listening, make_certificates

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

NOBODY = "www.secret-holder.mn"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


class Site:
    """The register of an open core, asked with curl as anybody would, without a client certificate."""

    def __init__(self, url: str, certificates: Certificates) -> None:
        self.url = url
        self._trust = certificates.ca.certificate_file

    async def get(self, path: str, *arguments: str | Path) -> Reply:
        return await curl(f"{self.url}{path}", "--cacert", self._trust, *arguments)

    async def feed(self, after: int = 0, limit: int = MAX_PAGE) -> dict[str, object]:
        reply = await self.get(f"/register/feed?after={after}&limit={limit}")
        assert reply.status == 200
        body = json.loads(reply.body)
        assert isinstance(body, dict)
        return body


@asynccontextmanager
async def site(core: Core, certificates: Certificates) -> AsyncIterator[Site]:
    routes = register_routes(Register(core.storage, core.authorities), core.clock.now)
    async with listening(routes, certificates) as listener:
        yield Site(f"https://localhost:{listener.address[1]}", certificates)


@pytest.fixture
async def register(core: Core, certificates: Certificates) -> AsyncIterator[Site]:
    async with site(core, certificates) as opened:
        yield opened


async def change(core: Core, action: str, serial: int, **arguments: str) -> None:
    given = {"serial": f"{serial:x}", "ca": None, **arguments}
    await core.commands.run(f"certificate.{action}", given, "user:registrar-of-secrets", silent)


class TestPage:
    async def test_has_a_form_and_no_script_cookie_or_sniffing(self, register: Site) -> None:
        reply = await register.get("/register")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert "set-cookie" not in reply.headers
        page = reply.body.decode()
        assert "<script" not in page
        assert "Серийн дугаар" in page
        assert '<span lang="en">Serial number' in page

    async def test_is_well_formed_and_each_field_has_its_label(self, register: Site) -> None:
        elements = Elements.of((await register.get("/register?serial=zz")).body.decode())
        assert elements.open == []
        assert elements.attributes("html") == [{"lang": "mn"}]
        (field,) = elements.attributes("input")
        assert {"for": field["id"]} in elements.attributes("label")
        assert {"id": field["aria-describedby"], "class": "hint"} in elements.attributes("p")
        assert field["aria-invalid"] == "true"

    async def test_tells_the_state_and_history(
        self, core: Core, register: Site, issue: "Issue", clock: "FakeClock"
    ) -> None:
        serial = (await issue(core, NOBODY)).serial
        clock.advance(timedelta(hours=1))
        await change(core, "suspend", serial, by="holder")
        page = (await register.get(f"/register?serial={serial:X}")).body.decode()
        assert "<h2>Түдгэлзүүлсэн" in page
        assert "Олгосон" in page
        assert "certificateHold" in page
        assert f"{serial:032x}" in page
        await change(core, "restore", serial, by="holder")
        page = (await register.get(f"/register?serial={serial:X}")).body.decode()
        assert "<h2>Хүчинтэй" in page
        assert "Сэргээсэн" in page
        await change(core, "revoke", serial, reason="keyCompromise")
        page = (await register.get(f"/register?serial={serial:X}")).body.decode()
        assert "<h2>Хүчингүй болгосон" in page
        assert "keyCompromise" in page

    async def test_tells_that_a_certificate_is_over(
        self, core: Core, register: Site, issue: "Issue", clock: "FakeClock"
    ) -> None:
        record = await issue(core, NOBODY)
        clock.moment = record.not_after
        assert "<h2>Хүчинтэй" in (await register.get(f"/register?serial={record.serial:x}")).body.decode()
        clock.advance(timedelta(seconds=1))
        page = (await register.get(f"/register?serial={record.serial:x}")).body.decode()
        assert "<h2>Хугацаа дууссан" in page

    async def test_takes_a_serial_as_tools_print_it(self, core: Core, register: Site, issue: "Issue") -> None:
        digits = f"{(await issue(core, NOBODY)).serial:032X}"
        colons = ":".join(digits[at : at + 2] for at in range(0, 32, 2))
        for typed in (colons, colons.replace(":", "%20"), f"%20{digits}%0A"):
            assert (await register.get(f"/register?serial={typed}")).status == 200

    async def test_an_unknown_serial(self, register: Site) -> None:
        reply = await register.get("/register?serial=7b")
        assert reply.status == 404
        assert "олгоогүй" in reply.body.decode()

    @pytest.mark.parametrize("typed", ["", "xyz", "0x12", "1" * 33, "a" * 5000, "%F0%9F%98%80", "%00"])
    async def test_what_is_no_serial(self, register: Site, typed: str) -> None:
        reply = await register.get(f"/register?serial={typed}")
        assert reply.status == 400
        assert "серийн дугаар биш" in reply.body.decode()
        assert len(reply.body) < 10_000

    async def test_what_was_typed_is_shown_as_text(self, register: Site) -> None:
        reply = await register.get("/register?serial=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        assert b"<script" not in reply.body
        assert b"&lt;script&gt;" in reply.body


class TestFeed:
    async def test_is_read_to_its_end_page_by_page(self, core: Core, register: Site, issue: "Issue") -> None:
        serials = [(await issue(core, NOBODY)).serial for _ in range(3)]
        await change(core, "suspend", serials[0], by="holder")
        whole = await register.feed()
        entries: list[object] = []
        after = 0
        while True:
            page = await register.feed(after, 2)
            assert isinstance(page["entries"], list)
            if not page["entries"]:
                break
            entries += page["entries"]
            assert isinstance(page["next"], int)
            after = page["next"]
        assert entries == whole["entries"]
        assert page["next"] == after == whole["next"]

    async def test_has_what_is_public_and_nothing_else(
        self, core: Core, register: Site, issue: "Issue", clock: "FakeClock"
    ) -> None:
        before = (await register.feed())["next"]
        assert isinstance(before, int)
        serial = (await issue(core, NOBODY)).serial
        await change(core, "revoke", serial, reason="superseded")
        at = f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"
        named = {"ca": "infrastructure", "serial": f"{serial:032x}"}
        assert await register.feed(before) == {
            "entries": [
                {"sequence": before + 1, **named, "state": "active", "at": at},
                {"sequence": before + 2, **named, "state": "revoked", "reason": "superseded", "at": at},
            ],
            "next": before + 2,
        }

    async def test_does_not_tell_of_a_second_hold(self, core: Core, register: Site, issue: "Issue") -> None:
        """It would show that the authority suspended what the holder had suspended, or the reverse."""
        serial = (await issue(core, NOBODY)).serial
        before = (await register.feed())["next"]
        assert isinstance(before, int)
        await change(core, "suspend", serial, by="holder")
        await change(core, "suspend", serial, by="authority")
        await change(core, "restore", serial, by="holder")
        await change(core, "restore", serial, by="authority")
        entries = (await register.feed(before))["entries"]
        assert isinstance(entries, list)
        assert [(entry["sequence"] - before, entry["state"]) for entry in entries] == [
            (1, "suspended"),
            (4, "active"),
        ]

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("after=-1", "after must be one whole number"),
            ("after=x", "after must be one whole number"),
            ("after=1&after=2", "after must be one whole number"),
            (f"after={10**30}", "after must be one whole number"),
            ("limit=0", "limit must be one whole number from 1 to 1000"),
            (f"limit={MAX_PAGE + 1}", "limit must be one whole number from 1 to 1000"),
            ("limit=", "limit must be one whole number from 1 to 1000"),
            ("after=900000", "begin again with after=0"),
        ],
    )
    async def test_says_in_json_what_to_do(self, register: Site, query: str, said: str) -> None:
        reply = await register.get(f"/register/feed?{query}")
        assert reply.status == 400
        assert reply.headers["content-type"].startswith("application/json")
        assert said in json.loads(reply.body)["error"]

    async def test_a_store_that_cannot_be_read_is_said_in_json(self, core: Core, register: Site) -> None:
        core.storage.database.close()
        reply = await register.get("/register/feed")
        assert reply.status == 503
        assert "retry-after" in reply.headers
        assert "again" in json.loads(reply.body)["error"]

    async def test_is_revalidated(self, core: Core, register: Site, issue: "Issue") -> None:
        first = await register.get("/register/feed")
        assert first.headers["cache-control"] == "public, no-cache"
        tag = first.headers["etag"]
        again = await register.get("/register/feed", "-H", f"If-None-Match: {tag}")
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        await issue(core, NOBODY)
        changed = await register.get("/register/feed", "-H", f"If-None-Match: {tag}")
        assert changed.status == 200
        assert changed.headers["etag"] != tag

    async def test_a_full_page_may_be_kept(self, core: Core, register: Site, issue: "Issue") -> None:
        await issue(core, NOBODY)
        full = await register.get("/register/feed?limit=1")
        assert full.headers["cache-control"] == "public, max-age=86400"


class TestBoth:
    async def test_tell_of_nobody(self, core: Core, register: Site, issue: "Issue") -> None:
        record = await issue(core, NOBODY)
        await change(core, "suspend", record.serial, by="authority")
        events = await core.storage.read(
            lambda tx: status_events.of_certificate(tx, record.authority, record.serial)
        )
        secrets = [record.subject, NOBODY, record.profile, "authority", *(event.actor for event in events)]
        for path in ("/register/feed?limit=1000", f"/register?serial={record.serial:x}"):
            body = (await register.get(path)).body.decode()
            assert f"{record.serial:032x}" in body
            assert [secret for secret in secrets if secret in body] == []

    @pytest.mark.parametrize("path", ["/register", "/register/feed"])
    async def test_are_only_read(self, register: Site, path: str) -> None:
        assert (await register.get(path, "--head")).status == 200
        refused = await register.get(path, "--request", "POST", "--data", "serial=7b")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")

    async def test_many_changes_are_bounded_on_the_page(
        self, core: Core, register: Site, issue: "Issue"
    ) -> None:
        serial = (await issue(core, NOBODY)).serial
        for _ in range(MAX_HISTORY // 2):
            await change(core, "suspend", serial, by="holder")
            await change(core, "restore", serial, by="holder")
        page = (await register.get(f"/register?serial={serial:x}")).body.decode()
        assert page.count("<tr><td>") == MAX_HISTORY
        assert "Олгосон" not in page  # that was before those which are shown


class Elements(HTMLParser):
    """The elements of a page; `open` are those that were not closed, or closed in another order."""

    VOID = frozenset({"meta", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self._found: list[tuple[str, dict[str, str | None]]] = []

    @classmethod
    def of(cls, page: str) -> "Elements":
        elements = cls()
        elements.feed(page)
        elements.close()
        return elements

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self._found if found == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


async def test_readers_at_once_see_whole_pages(core: Core, register: Site, issue: "Issue") -> None:
    """While entries are added, no page skips one: sequence numbers are given in commit order."""
    pages = asyncio.gather(*(register.feed(limit=MAX_PAGE) for _ in range(4)))
    for _ in range(5):
        await issue(core, NOBODY)
    head = await core.storage.read(status_events.head)
    for page in await pages:
        entries = page["entries"]
        assert isinstance(entries, list)
        assert [entry["sequence"] for entry in entries] == list(range(1, len(entries) + 1))
        assert len(entries) <= head
