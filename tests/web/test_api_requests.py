"""Requests to the API: once for each Idempotency-Key, bounded bodies, refusals in the reader's language."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from pkiserver.core import Core
from pkiserver.web.api.words import WORDS, Language, field_words, language_of
from protocols.errors import ErrorKind
from store import api_requests
from store.records import CertificateRecord
from tests.web.api_harness import BASE, Client, Desk, Reply, desk, path_of

if TYPE_CHECKING:
    from tests.conftest import FakeClock

KEY = "5f0d7d0e-9d7c-4b1e-8f4c-1f3f6b7c9a10"
AT_REQUEST = {"ground": "holder_request"}


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path) as opened:
        yield opened


@pytest.fixture
async def registrar(office: Desk) -> Client:
    return await office.actor("bat", "registrar")


async def suspend(
    client: Client, office: Desk, record: CertificateRecord, key: str = KEY, etag: str | None = None
) -> Reply:
    path = path_of(office.core, record)
    seen = etag or (await client.get(path)).etag
    return await client.post(f"{path}/suspend", AT_REQUEST, If_Match=seen, Idempotency_Key=key)


class TestIdempotency:
    async def test_the_same_request_is_carried_out_once(self, office: Desk, registrar: Client) -> None:
        record = await office.issue("dorj")
        etag = (await registrar.get(path_of(office.core, record))).etag
        first = await suspend(registrar, office, record, etag=etag)
        again = await suspend(registrar, office, record, f'"{KEY}"', etag)  # as a structured field
        assert (first.status, first.octets, first.etag) == (again.status, again.octets, again.etag)
        assert first.status == 200
        assert len(await office.audited("certificate.suspend")) == 1

    async def test_another_request_with_the_same_key(self, office: Desk, registrar: Client) -> None:
        record, other = await office.issue("dorj"), await office.issue("oyun")
        await suspend(registrar, office, record)
        reply = await suspend(registrar, office, other)
        assert "used for another request" in reply.refused(422, "unprocessable")
        path = path_of(office.core, record)
        etag = (await registrar.get(path)).etag
        reply = await registrar.post(
            f"{path}/revoke", {"reason": "superseded"}, If_Match=etag, Idempotency_Key=KEY
        )
        reply.refused(422, "unprocessable")
        assert (await registrar.get(path_of(office.core, other))).body["state"] == "active"

    async def test_keys_are_each_actor_s_own(self, office: Desk, registrar: Client) -> None:
        record, other = await office.issue("dorj"), await office.issue("oyun")
        await suspend(registrar, office, record)
        second = await office.actor("saran", "registrar")
        assert (await suspend(second, office, other)).status == 200

    async def test_a_refusal_leaves_the_key_free(self, office: Desk, registrar: Client) -> None:
        record = await office.issue("dorj")
        (await suspend(registrar, office, record, etag='"0-active"')).refused(412, "precondition_failed")
        assert (await suspend(registrar, office, record)).status == 200

    async def test_while_the_first_is_carried_out(
        self, office: Desk, registrar: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = await office.issue("dorj")
        changes = type(office.core.status_changes)
        carry_out, begun, go_on = changes.carry_out, asyncio.Event(), asyncio.Event()

        async def slow(self: Any, *given: Any, **more: Any) -> Any:
            begun.set()
            await go_on.wait()
            return await carry_out(self, *given, **more)

        monkeypatch.setattr(changes, "carry_out", slow)
        etag = (await registrar.get(path_of(office.core, record))).etag
        first = asyncio.create_task(suspend(registrar, office, record, etag=etag))
        await begun.wait()
        second = await suspend(registrar, office, record, etag=etag)
        assert "still being carried out" in second.refused(409, "conflict")
        go_on.set()
        assert (await first).status == 200
        assert (await suspend(registrar, office, record, etag=etag)).octets == (await first).octets

    async def test_after_the_server_broke_between_deed_and_answer(
        self, office: Desk, registrar: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = await office.issue("dorj")

        def broken(*_given: object) -> None:
            raise RuntimeError("the power went")

        monkeypatch.setattr(api_requests, "answer", broken)
        etag = (await registrar.get(path_of(office.core, record))).etag
        (await suspend(registrar, office, record, etag=etag)).refused(500, "internal")
        monkeypatch.undo()
        again = await suspend(registrar, office, record, etag=etag)
        assert "look at what it was about" in again.refused(409, "conflict")
        assert len(await office.audited("certificate.suspend")) == 1

    async def test_answers_are_kept_for_a_day(
        self, office: Desk, registrar: Client, clock: "FakeClock"
    ) -> None:
        record = await office.issue("dorj")
        etag = (await registrar.get(path_of(office.core, record))).etag
        await suspend(registrar, office, record, etag=etag)
        clock.advance(timedelta(hours=24))
        assert (await suspend(registrar, office, record, etag=etag)).status == 200
        clock.advance(timedelta(seconds=1))
        (await suspend(registrar, office, record, etag=etag)).refused(412, "precondition_failed")
        await suspend(registrar, office, await office.issue("oyun"), "another-key")
        rows = await office.core.storage.read(lambda tx: tx.all("SELECT key FROM api_requests"))
        assert rows == [("another-key",)]

    @pytest.mark.parametrize("key", ["short", "x" * 65, "a key with spaces", "кирилл-үсэг", ""])
    async def test_what_is_no_key(self, office: Desk, registrar: Client, key: str) -> None:
        reply = await suspend(registrar, office, await office.issue("dorj"), key)
        reply.refused(400, "malformed")


class TestBodies:
    @pytest.fixture
    async def path(self, office: Desk) -> str:
        return BASE + path_of(office.core, await office.issue("dorj")) + "/suspend"

    @pytest.mark.parametrize(
        ("data", "content_type", "status"),
        [
            (b"{", "application/json", 400),
            (b"", "application/json", 400),
            (b"\xff", "application/json", 400),
            (b"[" * 20_000, "application/json", 400),
            (b'{"ground": "holder_request"}', "text/plain", 415),
            (b'{"ground": "holder_request"}', "application/json; charset=utf-8", 428),
            (b'{"ground": "x"}', "application/json", 422),
            (b'{"ground": "' + b"x" * 40_000 + b'"}', "application/json", 413),
        ],
    )
    async def test_what_is_no_body(
        self, registrar: Client, path: str, data: bytes, content_type: str, status: int
    ) -> None:
        reply = await registrar.ask("POST", path, data=data, headers={"Content-Type": content_type})
        assert reply.status == status
        assert reply.headers["Content-Type"] == "application/problem+json"

    async def test_a_body_where_none_is_taken(self, office: Desk, registrar: Client) -> None:
        number = await office.enrollment("dorj")
        reply = await registrar.post(f"/enrollments/{number}/approve", {}, If_Match=f'"{number}-waiting"')
        assert "takes no body" in reply.refused(400, "malformed")

    async def test_the_wrong_method(self, registrar: Client, path: str) -> None:
        reply = await registrar.ask("DELETE", path)
        assert "allowed: POST" in reply.refused(405, "bad_request")
        assert reply.headers["Allow"] == "POST"

    async def test_a_header_twice(self, registrar: Client, path: str) -> None:
        twice = [("If-Match", '"1-active"'), ("If-Match", '"2-active"')]

        reply = await registrar.ask("POST", path, AT_REQUEST, CIMultiDict(twice))
        reply.refused(400, "malformed")


class TestProblems:
    async def test_in_the_reader_s_language(self, registrar: Client) -> None:
        path = "/certificates?limit=0&colour=red"
        english, mongolian = (
            await registrar.get(path),
            await registrar.get(path, Accept_Language="mn-MN,en;q=0.5"),
        )
        assert (english.headers["Content-Language"], mongolian.headers["Content-Language"]) == ("en", "mn")
        assert english.body["title"] == "Some values are wrong"
        assert mongolian.body["title"] == "Зарим утга буруу байна"
        assert [(one["place"], one["field"]) for one in mongolian.body["fields"]] == [
            ("query", "limit"),
            ("query", "colour"),
        ]
        assert mongolian.body["fields"][1]["problem"] == "ийм талбар байхгүй"
        assert english.body["reason"] == mongolian.body["reason"]
        assert english.body["type"] == "/api/#unprocessable"
        assert len(english.body["request_id"]) == 16

    async def test_no_value_is_quoted(self, office: Desk, registrar: Client) -> None:
        record = await office.issue("dorj")
        body = {"ground": "secret-of-dorj", "secret-name\x1b": 1}
        reply = await registrar.post(f"{path_of(office.core, record)}/suspend", body)
        reply.refused(422, "unprocessable")
        assert b"secret-of-dorj" not in reply.octets
        assert "\x1b" not in json.dumps(reply.body, ensure_ascii=False)

    async def test_what_nobody_expected_is_not_told(
        self, registrar: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_given: object) -> None:
            raise RuntimeError("row 7 of table x")

        monkeypatch.setattr("store.certificates.search", broken)
        reply = await registrar.get("/certificates")
        assert reply.refused(500, "internal") == f"internal error; request {reply.body['request_id']}"
        assert b"row 7" not in reply.octets

    async def test_other_paths_keep_their_line_of_text(self, office: Desk) -> None:
        reply = await office.nobody().ask("GET", "/nowhere")
        assert (reply.status, reply.octets) == (404, b"not found\n")

    def test_every_kind_has_words_in_both_languages(self) -> None:
        assert set(WORDS) == set(ErrorKind)
        for words in WORDS.values():
            assert all(words.spoken(language)[part] for language in Language for part in (0, 1))
            assert words.en != words.mn

    def test_wrong_fields_have_words_in_both_languages(self) -> None:
        for error_type in ("missing", "extra_forbidden", "duplicate", "string_too_long", "whatever"):
            assert field_words(error_type, Language.ENGLISH) != field_words(error_type, Language.MONGOLIAN)

    @pytest.mark.parametrize(
        ("header", "language"),
        [
            ("", "en"),
            ("mn", "mn"),
            ("MN-Cyrl-MN", "mn"),
            ("en, mn", "en"),
            ("en;q=0.2, mn;q=0.3", "mn"),
            ("mn;q=0", "en"),
            ("*", "en"),
            ("de, *;q=0.1", "en"),
            ("mn;q=2, en;q=0.1", "en"),
            ("de, mn;q=0.1", "mn"),
            ("x" * 10_000 + ", mn", "en"),
        ],
    )
    def test_rfc9110_12_5_4_which_language(self, header: str, language: str) -> None:
        assert language_of(header).value == language

    @given(st.text())
    def test_any_header_gives_a_language(self, header: str) -> None:
        assert language_of(header) in Language
