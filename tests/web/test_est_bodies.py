"""Property: whatever a client sends to EST, the answer is of 4xx (or an enrolment) and never 500."""

import asyncio
import base64
import http.client
import threading
from collections.abc import Iterator

import pytest
from https_harness import Certificates, Server, csr_der, est_server, make_certificates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CSR = csr_der()
CREDENTIAL = base64.b64encode(b"ref:secret").decode()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    """A server on a loop of its own, since hypothesis drives plain functions."""
    started: list[Server] = []
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with est_server(certificates) as server:
            started.append(server)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    yield started[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def _post(server: Server, path: str, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPSConnection(
        "localhost", server.port, timeout=20, context=server.certificates.client_context()
    )
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        response.read()
        return int(response.status)
    finally:
        connection.close()


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    """Return bytes of any kind, or a CSR with a few octets changed, in one of the accepted forms."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=400))
    body = bytearray(CSR)
    for _ in range(draw(st.integers(0, 3))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    cut = bytes(body[: draw(st.integers(0, len(body)))]) if draw(st.booleans()) else bytes(body)
    form = draw(st.sampled_from(["der", "line", "wrapped"]))
    return {"der": cut, "line": base64.b64encode(cut), "wrapped": base64.encodebytes(cut)}[form]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_bodies())
def test_no_body_makes_a_500(server: Server, body: bytes) -> None:
    headers = {"Authorization": f"Basic {CREDENTIAL}", "Content-Type": "application/pkcs10"}
    status = _post(server, "/.well-known/est/simpleenroll", body, headers)
    assert status == 200 or 400 <= status < 500


_header = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    authorization=_header | _header.map("Basic {}".format),
    content_type=_header,
    path=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40),
)
def test_no_header_or_path_makes_a_500(
    server: Server, authorization: str, content_type: str, path: str
) -> None:
    headers = {"Authorization": authorization, "Content-Type": content_type}
    for target in ("/.well-known/est/simpleenroll", f"/.well-known/est/{path}"):
        assert 400 <= _post(server, target, CSR, headers) < 500
