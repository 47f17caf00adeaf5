"""The OpenAPI document against the server, by schemathesis: no 5xx, no answer that is not described."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pkiserver.core import Core
from pkiserver.web.api.openapi import openapi
from pkiserver.web.api.table import OPERATIONS
from tests.web.api_harness import Client, desk, path_of
from tests.web.registration_world import World

EXAMPLES = 6  # of each operation and client: ten seconds of CPU in all
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
PATHS = {
    "office": "ub-1",
    "organization": "1234567",
    "actor": "administrator",
    "proposal": "1",
    "officer": "1",
}


@pytest.mark.long
async def test_every_answer_is_described(core: Core, tmp_path: Path) -> None:
    """As an administrator and as a registrar; half of the time of things that there are."""
    async with desk(core, tmp_path, rate=10_000, burst=100_000) as office:
        world = await World(office).make()
        await office.organization()
        certificate = path_of(core, await office.issue("dorj")).split("/")
        there = PATHS | {
            "ca": certificate[2],
            "serial": certificate[3],
            "enrollment": str(await office.enrollment("oyun")),
            "application": str((await world.verified()).id),
            "person": "1",
        }
        root = load_der_x509_certificate(core.authorities.get("root").der)
        trusted = tmp_path / "root.pem"
        trusted.write_bytes(root.public_bytes(Encoding.PEM))
        answers: Counter[int] = Counter()
        for name, role in (("ann", "administrator"), ("bat", "registrar")):
            client = await office.actor(name, role)
            await asyncio.to_thread(_walk, client, trusted, there, answers)
        assert all(answers[status] for status in (200, 403, 404, 422)), answers  # it came to the operations


def _walk(client: Client, trusted: Path, there: dict[str, str], answers: Counter[int]) -> None:
    """Ask every operation, blocking, on one connection."""
    assert client.files is not None
    schema = schemathesis.openapi.from_dict(openapi(OPERATIONS))
    with requests.Session() as session:
        session.trust_env = False  # REQUESTS_CA_BUNDLE would count for more than the line below
        session.verify = str(trusted)
        session.cert = (str(client.files[0]), str(client.files[1]))
        for one in OPERATIONS:
            _ask(schema[one.address][one.method], session, client.url, there, answers)


def _ask(
    operation: Any, session: requests.Session, url: str, there: dict[str, str], answers: Counter[int]
) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(case=operation.as_strategy(), known=st.booleans())
    def holds(case: Any, known: bool) -> None:
        if known:
            case.path_parameters = {
                name: there.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        response = case.call(base_url=url, session=session, verify=session.verify, cert=session.cert)
        answers[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    holds()
