"""Cases and letters on the command line, without a server."""

import asyncio

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.clock import Clock
from pkiserver.core import open_core
from pkiserver.home import Home
from pkiserver.ra.requester import Channel, Password, Requester
from tests.server.test_cli_registration import as_json, form, run, text

__all__ = ["form"]  # a fixture


@pytest.fixture
def serial(home: Home, form: str) -> str:
    """The serial of a citizen's certificate."""
    as_json(home, "office", "add", "ub-1", "--name", "Сүхбаатар")
    as_json(home, "application", "create", form, "--office", "ub-1")
    as_json(home, "application", "verify", "1", "--fingerprint", "check-1")
    credential = as_json(home, "application", "issue", "1")
    asyncio.run(enroll(home, credential["reference"], credential["secret"]))
    found = as_json(home, "application", "show", "1")
    assert isinstance(found["serial"], str)
    return found["serial"]


async def enroll(home: Home, reference: str, secret: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    requester = Requester("192.0.2.7", Channel("TLS 1.3"), Password(reference, secret), None)
    async with open_core(home, Clock()) as core:
        await core.enrollment.enroll(request.public_bytes(Encoding.DER), requester, None)


def test_a_written_request_about_a_certificate(home: Home, serial: str) -> None:
    asked = ("case", "receive", serial, "--kind", "suspend", "--office", "ub-1", "--letter", "2026/17")
    case = as_json(home, *asked)
    assert (case["state"], case["serial"], case["evidence"]) == ("received", serial, {"letter": "2026/17"})
    assert case["due_at"] > case["received_at"]
    assert as_json(home, *asked)["id"] == case["id"]
    assert "suspend" in text(home, "case", "list", "--office", "ub-1")
    assert as_json(home, "case", "list", "--overdue") == []
    decide = ("case", "decide", str(case["id"]), "--grant", "--ground", "compared", "--version")
    assert "look at it again" in run(home, *decide, "7").stderr
    assert as_json(home, *decide, "1")["state"] == "granted"
    assert as_json(home, "certificate", "list", "--status", "suspended")[0]["serial"] == serial
    assert as_json(home, "case", "show", str(case["id"]))["decision"] == "compared"
    assert as_json(home, "case", "list") == []
    assert [one["template"] for one in as_json(home, "letter", "list")] == ["certificate-suspended"]


def test_what_takes_a_second_person_is_not_decided_here(home: Home, serial: str) -> None:
    asked = ("case", "receive", serial, "--kind", "revoke", "--office", "ub-1")
    case = as_json(home, *asked, "--ground", "forged_documents")
    decided = run(home, "case", "decide", str(case["id"]), "--grant", "--ground", "yes", "--version", "1")
    assert (decided.exit_code, "second person" in decided.stderr) == (1, True)


def test_a_door_is_not_closed_by_a_registrar(home: Home) -> None:
    as_json(home, "office", "add", "ub-1", "--name", "Сүхбаатар")
    serial = as_json(home, "certificate", "list")[0]["serial"]
    refused = run(home, "case", "receive", serial, "--kind", "suspend", "--office", "ub-1")
    assert "of the infrastructure" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("case", "show", "1"),
        ("case", "decide", "1", "--grant", "--ground", "yes", "--version", "1"),
        ("case", "receive", "0A", "--kind", "revoke", "--office", "ub-1"),
        ("case", "list", "--office", "nowhere"),
    ],
)
def test_one_clear_line_for_what_is_wrong(home: Home, words: tuple[str, ...]) -> None:
    result = run(home, *words)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
