"""The civil registry over HTTPS, asked of a real server with mutual TLS that fails in every way it can."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from config.schema_registration import CivilRegistry
from pkiserver.errors import UnavailableError
from pkiserver.metrics import Metrics
from pkiserver.ra.registration.circuit import State
from pkiserver.ra.registration.http_registry import HTTPRegistry
from pkiserver.ra.registration.registry_messages import parse_answer
from pkiserver.registry_readings import register_registry
from protocols.errors import MalformedError

CITIZEN = {
    "register_number": "УБ05231418",
    "civil_id": "123456789012",
    "birth_date": "2005-03-14",
    "parent_name": "Бат",
    "clan_name": None,
    "given_name": "Дорж",
}
NUMBERS = ("УБ05231418", "123456789012")
Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def issue(folder: Path, name: str, signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    certificate = builder.sign(signer[1] if signer else key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem) + private)
    return certificate, key


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = issue(folder, "authority", None)
    for name in ("server", "client"):
        issue(folder, name, authority)
    issue(folder, "stranger", None)
    return folder


class Registry:
    """A registry that answers as it is told; `answers` are used up, the last one stays."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [said("citizen")]
        self.questions: list[tuple[str, dict[str, Any], str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        question = await request.json()
        self.questions.append((request.path, question, request.headers["X-Request-Id"]))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request, question)


def said(standing: str, **changes: Any) -> Answer:
    async def answer(_request: web.Request, question: dict[str, Any]) -> web.StreamResponse:
        citizen = None if standing == "unknown" else CITIZEN | changes
        content = {"request_id": question["request_id"], "standing": standing, "citizen": citizen}
        return web.json_response(content)

    return answer


def raw(body: bytes, status: int = 200, content_type: str = "application/json", **headers: str) -> Answer:
    async def answer(_request: web.Request, _question: dict[str, Any]) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, status=status, content_type=content_type, headers=named)

    return answer


async def hangs(_request: web.Request, _question: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def breaks_off(request: web.Request, _question: dict[str, Any]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def never_ends(request: web.Request, _question: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" " * 4096)


async def another_question(_request: web.Request, _question: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"request_id": "0" * 32, "standing": "citizen", "citizen": CITIZEN})


@pytest.fixture
async def registry(files: Path) -> AsyncIterator[Registry]:
    registry = Registry()
    app = web.Application()
    app.router.add_post("/v1/citizens/{by}", registry.handle)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files / "server.pem")
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    registry.url = f"https://localhost:{runner.addresses[0][1]}/v1"
    yield registry
    await runner.cleanup()


Open = Callable[..., HTTPRegistry]


@pytest.fixture
async def open_client(registry: Registry, files: Path) -> AsyncIterator[Open]:
    opened: list[HTTPRegistry] = []

    def make(steady_s: Callable[[], float] | None = None, **settings: Any) -> HTTPRegistry:
        chosen: dict[str, Any] = {
            "url": registry.url,
            "ca_file": "authority.pem",
            "certificate_file": "client.pem",
        }
        clock = {} if steady_s is None else {"steady_s": steady_s}
        opened.append(HTTPRegistry(CivilRegistry(**chosen | settings), files, **clock))
        return opened[-1]

    yield make
    for one in opened:
        await one.close()


async def test_a_citizen_by_fingerprint_and_by_numbers(registry: Registry, open_client: Open) -> None:
    client = open_client()
    found = [await client.by_fingerprint("check-1"), await client.by_numbers(*NUMBERS)]
    for entry in found:
        assert entry is not None
        assert (entry.given_name, entry.birth_date, entry.entitled) == ("Дорж", date(2005, 3, 14), True)
    (first, asked, first_id), (second, numbers, _) = registry.questions
    assert (first, second) == ("/v1/citizens/by-fingerprint", "/v1/citizens/by-numbers")
    assert asked == {"request_id": first_id, "reference": "check-1"}
    assert (numbers["register_number"], numbers["civil_id"]) == NUMBERS
    assert client.statistics.outcomes == {"found": 2}


@pytest.mark.parametrize(
    ("standing", "entitled"), [("citizen", True), ("died", False), ("no_citizen", False)]
)
async def test_who_is_entitled(registry: Registry, open_client: Open, standing: str, entitled: bool) -> None:
    registry.answers = [said(standing)]
    entry = await open_client().by_fingerprint("check-1")
    assert entry is not None
    assert entry.entitled is entitled


async def test_nobody_is_known(registry: Registry, open_client: Open) -> None:
    registry.answers = [said("unknown")]
    client = open_client()
    assert await client.by_numbers(*NUMBERS) is None
    assert client.statistics.outcomes == {"unknown": 1}


@pytest.mark.parametrize("failure", [breaks_off, raw(b"", 502), raw(b"", 503), raw(b"", 504)])
async def test_tried_again_where_no_answer_came(
    registry: Registry, open_client: Open, failure: Answer
) -> None:
    registry.answers = [failure, failure, said("citizen")]
    client = open_client()
    assert await client.by_fingerprint("check-1") is not None
    assert len(registry.questions) == 3
    assert client.circuit is State.CLOSED
    assert client.cause().detail == ""


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"{"),
        raw(b"[" * 50_000),
        raw(b"null"),
        raw(b"", 500),
        raw(b"", 403),
        raw(b"", 307, Location="https://localhost/elsewhere"),
        raw(json.dumps(CITIZEN).encode()),
        raw(b"{}", content_type="text/html"),
        raw(b"{}", Content_Encoding="gzip"),
        raw(b" " * 70_000),
        never_ends,
        another_question,
        said("immortal"),
        said("citizen", birth_date="14.03.2005"),
        said("citizen", given_name=""),
        said("citizen", given_name="Д" * 201),
        said("citizen", civil_id=123456789012),
        said("citizen", civil_id="123456789013"),  # somebody else
    ],
)
async def test_what_is_no_answer_is_asked_for_once_and_counts_as_none(
    registry: Registry, open_client: Open, answer: Answer
) -> None:
    registry.answers = [answer]
    client = open_client()
    with pytest.raises(UnavailableError, match="nothing was changed, try again later") as raised:
        await client.by_numbers(*NUMBERS)
    assert len(registry.questions) == 1
    assert client.statistics.outcomes == {"failed": 1}
    for value in CITIZEN.values():
        assert str(value) not in str(raised.value)
    assert client.cause().ok
    assert "does not answer" in client.cause().detail


async def test_a_registry_that_hangs_is_given_up(registry: Registry, open_client: Open) -> None:
    registry.answers = [hangs]
    with pytest.raises(UnavailableError, match="took too long"):
        await open_client(timeout="1s", connect_timeout="1s").by_fingerprint("check-1")


async def test_nobody_listens(open_client: Open) -> None:
    client = open_client(url="https://localhost:1", attempts=2)
    with pytest.raises(UnavailableError, match="the connection failed"):
        await client.by_fingerprint("check-1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ca_file": "stranger.pem"}, "TLS failed"),
        ({"certificate_file": "stranger.pem"}, "gave no answer"),
        ({"certificate_file": "nowhere.pem"}, "cannot be read"),
    ],
)
async def test_both_sides_prove_who_they_are(
    registry: Registry, open_client: Open, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(UnavailableError, match=message):
        await open_client(**settings).by_fingerprint("check-1")
    assert registry.questions == []


async def test_left_alone_after_failures_and_found_again_by_a_probe(
    registry: Registry, open_client: Open
) -> None:
    moment = [0.0]
    client = open_client(lambda: moment[0], open_after=2, pause="5s")
    registry.answers = [raw(b"", 500)]
    for _ in range(2):
        with pytest.raises(UnavailableError, match="said 500"):
            await client.by_fingerprint("check-1")
    assert client.circuit.value == "open"
    with pytest.raises(UnavailableError, match="left alone"):
        await client.by_fingerprint("check-1")
    assert len(registry.questions) == 2
    registry.answers, moment[0] = [said("citizen")], 5.0
    assert await client.by_fingerprint("check-1") is not None
    assert client.circuit.value == "closed"
    assert client.statistics.outcomes == {"failed": 2, "not_asked": 1, "found": 1}


async def test_so_many_at_once_and_no_more(registry: Registry, open_client: Open) -> None:
    registry.answers = [hangs]
    client = open_client(max_lookups=2, timeout="2s", connect_timeout="1s")
    waiting = [asyncio.create_task(client.by_fingerprint("check-1")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="too many"):
        await client.by_fingerprint("check-1")
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert client.circuit is State.CLOSED
    registry.answers = [said("citizen")]
    assert await client.by_fingerprint("check-1") is not None


async def test_a_replaced_certificate_is_taken_up(registry: Registry, open_client: Open, files: Path) -> None:
    renewed = files / "renewed.pem"
    renewed.write_bytes((files / "stranger.pem").read_bytes())
    client = open_client(certificate_file="renewed.pem")
    with pytest.raises(UnavailableError):
        await client.by_fingerprint("check-1")
    renewed.write_bytes((files / "client.pem").read_bytes() + b"\n")
    assert await client.by_fingerprint("check-1") is not None


async def test_what_the_metrics_show(registry: Registry, open_client: Open) -> None:
    client, metrics = open_client(), Metrics()
    register_registry(metrics, client)
    await client.by_fingerprint("check-1")
    shown = metrics.render().decode().splitlines()
    for line in (
        'pkiserver_registry_lookups_total{outcome="found"} 1.0',
        'pkiserver_registry_lookups_total{outcome="failed"} 0.0',
        'pkiserver_registry_circuit{state="closed"} 1.0',
        'pkiserver_registry_circuit{state="open"} 0.0',
        "pkiserver_registry_lookup_duration_seconds_count 1.0",
    ):
        assert line in shown


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text(), lambda one: st.dictionaries(st.text(), one)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_only_our_own_error_escapes(answer: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_answer(answer, "0" * 32)
