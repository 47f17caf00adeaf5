"""The OpenAPI document and its page, against what the server really answers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from yarl import URL

from pkiserver.core import Core
from pkiserver.ra.registration.permission_table import PERMISSIONS
from pkiserver.web.api import table
from pkiserver.web.api.openapi import openapi
from pkiserver.web.api.operations import Operation
from pkiserver.web.api.problems import Problem
from pkiserver.web.api.table import OPERATIONS, PUBLIC
from tests.web.api_harness import Client, Desk, desk, path_of
from tests.web.registration_world import World

BY_ID = {one.operation_id: one for one in OPERATIONS}


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path, rate=10_000, burst=100_000) as opened:
        yield opened


def references(value: Any) -> set[str]:
    """Return the names of the schemas that are referred to."""
    if isinstance(value, dict):
        own = {value["$ref"].removeprefix("#/components/schemas/")} if "$ref" in value else set()
        return own.union(*(references(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(references(one) for one in value))
    return set()


class TestDocument:
    async def test_is_served_to_anybody(self, office: Desk) -> None:
        reply = await office.nobody().ask("GET", "/api/openapi.json")
        assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
        assert reply.body == json.loads(json.dumps(openapi((*OPERATIONS, *PUBLIC))))
        assert reply.body["openapi"] == "3.1.0"

    async def test_is_made_once_for_all_who_ask(self, office: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes half a second of processor time, and everybody may ask for it."""
        made: list[None] = []
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        right = table.openapi_json

        def counted(operations: Sequence[Operation]) -> bytes:
            made.append(None)
            loop.call_soon_threadsafe(begun.set)
            return right(operations)

        monkeypatch.setattr(table, "openapi_json", counted)
        assert made == []  # nothing at the start
        anybody = office.nobody()
        hasty = asyncio.create_task(anybody.ask("GET", "/api/openapi.json"))
        await begun.wait()
        hasty.cancel()
        replies = await asyncio.gather(*(anybody.ask("GET", "/api/openapi.json") for _ in range(3)))
        assert {reply.status for reply in replies} == {200}
        assert len({reply.octets for reply in replies}) == 1
        assert len(made) == 1

    def test_has_every_operation_once(self) -> None:
        document = openapi(OPERATIONS)
        described = [one["operationId"] for path in document["paths"].values() for one in path.values()]
        assert sorted(described) == sorted(BY_ID)
        assert len(BY_ID) == len(OPERATIONS)

    def test_what_is_referred_to_is_there(self) -> None:
        document = openapi(OPERATIONS)
        assert references(document) == set(document["components"]["schemas"])

    def test_the_parameters_of_a_path_are_those_of_its_model(self) -> None:
        for one in OPERATIONS:
            assert set(re.findall(r"\{(\w+)\}", one.path)) == set(one.parameters.model_fields)

    def test_every_operation_is_somebody_s(self) -> None:
        allowed = {action for _, action in PERMISSIONS}
        assert [one.operation_id for one in OPERATIONS if one.action not in allowed] == []

    def test_what_changes_asks_for_the_version_and_takes_a_key(self) -> None:
        for path in openapi(OPERATIONS)["paths"].values():
            for one in path.values():
                headers = {given["name"]: given["required"] for given in one["parameters"]}
                assert ("Idempotency-Key" in headers) == BY_ID[one["operationId"]].changes
                assert headers.get("If-Match", False) == BY_ID[one["operationId"]].versioned
                assert ("412" in one["responses"]) == BY_ID[one["operationId"]].versioned

    def test_every_body_has_an_example_that_is_one(self) -> None:
        for one in OPERATIONS:
            if one.body is not None:
                one.body.model_validate_json(json.dumps(example(one.body)))

    def test_nothing_in_it_is_of_this_machine(self) -> None:
        assert not re.search(r"127\.0\.0\.1|localhost|/home/|object at 0x", json.dumps(openapi(OPERATIONS)))


class Page(HTMLParser):
    """Collects what a page refers to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
            if name == "id":
                self.anchors.add(value or "")


async def test_the_page_needs_nothing_from_elsewhere(office: Desk) -> None:
    reply = await office.nobody().ask("GET", "/api/")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    page = Page(reply.octets.decode())
    assert not page.tags & {"script", "img", "iframe", "link", "form"}
    assert {link for link in page.links if not link.startswith("#")} == {"/api/openapi.json"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.anchors
    assert set(BY_ID) <= page.anchors
    problem = (await office.nobody().get("/certificates")).body
    assert problem["type"].removeprefix("/api/#") in page.anchors


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
NAMES = sorted({name for one in OPERATIONS for name in one.query.model_fields})
WORDS = ("active", "citizen", "1", "200", "2026-01-01T00:00:00Z", "1-1-1", "superseded", "holder_request")
VALUES = TEXT | st.sampled_from(WORDS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def example(model: type[BaseModel]) -> dict[str, Any]:
    """Return the example of a body that the document shows."""
    (found,) = model.model_json_schema()["examples"]
    assert isinstance(found, dict)
    return found


@st.composite
def bodies(draw: st.DrawFn, model: type[BaseModel] | None) -> Any:
    """Make a body: the example, the example with some other values, or anything."""
    if model is None:
        return draw(st.none() | JSON)
    shown = example(model)
    other = draw(st.dictionaries(st.sampled_from(sorted(model.model_fields)) | TEXT, JSON, max_size=2))
    return draw(st.just(shown) | st.just(shown | other) | st.just(other) | JSON)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, str], dict[str, str], dict[str, str], Any]:
    """Make a request to any operation: what is in its path, query, headers and body."""
    operation = BY_ID[draw(st.sampled_from(sorted(BY_ID)))]
    path = {name: draw(VALUES.filter(_segment)) for name in operation.parameters.model_fields}
    known = draw(st.booleans())  # half of the time the thing there is
    query = draw(st.dictionaries(st.sampled_from(NAMES) | TEXT, VALUES, max_size=3))
    headers = draw(
        st.dictionaries(
            st.sampled_from(
                ["If-Match", "Idempotency-Key", "If-None-Match", "Accept-Language", "On-Behalf-Of"]
            ),
            ASCII | st.just('"1-active"') | st.just("a-key-of-a-client"),
            max_size=3,
        )
    )
    return operation.operation_id, {} if known else path, query, headers, draw(bodies(operation.body))


def _segment(text: str) -> bool:
    return bool(text) and text not in (".", "..") and "/" not in text


async def test_no_request_gets_an_answer_that_is_not_in_the_document(office: Desk) -> None:
    """No 5xx, no undocumented status, no body that is not of its schema; over real mutual TLS."""
    world = await World(office).make()
    certificate = path_of(office.core, await office.issue("dorj")).split("/")
    batch, card = await world.pulled("actor:r-plant")
    await world.verified(delivery="plant")  # waits for a batch
    application = await world.verified()
    await office.organization()
    there = {
        "ca": certificate[2],
        "serial": certificate[3],
        "enrollment": str(await office.enrollment("oyun")),
        "actor": "administrator",
        "proposal": "1",
        "office": "ub-1",
        "day": "2026-07-10",
        "organization": "1234567",
        "officer": "1",
        "person": str(application.person),
        "application": str(application.id),
        "document": "1",
        "batch": str(batch),
        "card": card,
        "case": "1",
        "act": "1",
        "token": "T-1",
        "webhook": "1",
    }
    roles = ("auditor", "registrar", "senior_registrar", "administrator", "specialist", "service", "plant")
    clients = [await office.actor(f"r-{role.replace('_', '-')}", role) for role in roles]
    document = openapi(OPERATIONS)
    made = sorted_requests()
    seen: set[tuple[str, int]] = set()
    for client in clients:
        async with client.kept():
            for request in made:
                seen.add(await _asked(client, document, there, request))
    assert {status for _, status in seen} >= {200, 403, 422}


def sorted_requests() -> list[Any]:
    """Return the requests to try: always the same ones, so that a failure is seen again."""
    made: list[Any] = []

    @settings(
        max_examples=120,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(requests())
    def collect(request: Any) -> None:
        made.append(request)

    collect()
    return made


async def _asked(
    client: Client, document: dict[str, Any], there: dict[str, str], request: Any
) -> tuple[str, int]:
    operation_id, path, query, headers, body = request
    operation = BY_ID[operation_id]
    url = URL.build(path=operation.address.format(**(there | path)), query=query)
    reply = await client.ask(operation.method, str(url), body, headers)
    described = document["paths"][operation.address][operation.method.lower()]["responses"]
    assert str(reply.status) in described, (request, reply)
    assert reply.status < 500, (request, reply)
    if reply.status == 200:
        assert reply.headers["Content-Type"] == operation.produces
        if operation.produces == "application/json":
            operation.answer.model_validate_json(reply.octets)
    elif reply.status != 304:
        assert reply.headers["Content-Type"] == "application/problem+json"
        Problem.model_validate_json(reply.octets)
    return operation_id, reply.status
