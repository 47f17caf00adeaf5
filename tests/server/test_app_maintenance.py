"""Hourly maintenance: what fails is logged, and holds up nothing else."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from config.schema import Settings
from pkiserver.app import Server
from pkiserver.ca.server_certificates import server_certificate
from pkiserver.core import Core
from pkiserver.errors import RefusedError
from pkiserver.web.https import Listener
from protocols.errors import MalformedError


@pytest.fixture
async def server(core: Core) -> AsyncIterator[Server]:
    """A server that is not started."""
    made = Server(core)
    yield made
    made.table.close()


@pytest.mark.parametrize("error", [MalformedError("bad"), RefusedError("bad"), OSError(28, "bad")])
async def test_a_failure_leaves_the_rest_maintained(
    server: Server, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    shown: list[str] = []

    async def fails() -> bool:
        raise error

    monkeypatch.setattr(server.core.hierarchy, "maintain", fails)
    monkeypatch.setattr(server.presigner, "introduce", lambda: shown.append("responders"))
    monkeypatch.setattr(server.https, "reload_tls", lambda: shown.append("TLS"))
    (server.core.home.tls / "server.pem").unlink()
    await server._maintain()
    assert server_certificate(server.core.home) is not None
    assert shown == ["responders", "TLS"]


async def test_workers_hear_of_the_next_keys(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    core = server.core
    policies = core.settings.status_policies
    changed = {**policies, "citizen": replace(policies["citizen"], unknown="unknown")}
    monkeypatch.setattr(Settings, "status_policies", changed)
    told: list[tuple[int, ...]] = []
    monkeypatch.setattr(server.workers, "sign_unknown", told.append)
    await core.rollover.prepare("citizen", "cli:0")
    await core.rollover.publish("citizen", "cli:0")
    server._show_authorities()
    assert told == [tuple(record.id for record in core.authorities.generations("citizen"))]
    assert len(told[0]) == 2


async def test_a_certificate_that_cannot_be_shown_is_no_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RefusedError("bad")

    monkeypatch.setattr(server.https, "reload_tls", fails)
    (server.core.home.tls / "server.pem").unlink()
    await server._maintain()


async def test_tls_follows_its_files(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replaced certificate is taken up; a bad one leaves the old one, and is tried once."""
    side, path = server.https, server.core.home.tls / "server.pem"
    contexts: list[object] = []
    monkeypatch.setattr(Listener, "reload_tls", lambda _, context: contexts.append(context))
    side.listeners = [object.__new__(Listener)]
    side.reload_tls()
    await side.follow_files()
    assert len(contexts) == 1
    content = path.read_bytes()
    path.write_bytes(b"nonsense")
    for _ in range(2):
        await side.follow_files()
    assert len(contexts) == 1
    path.write_bytes(content)
    await side.follow_files()
    assert len(contexts) == 2
