"""The public register, export and evidence of a whole server, as curl, openssl and an auditor use them."""

import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from client_messages import new_key, serial_of
from server_harness import Server, done, eventually, run_program

pytestmark = pytest.mark.interop


def curl(server: Server, path: str) -> str:
    url = f"https://127.0.0.1:{server.port('https')}{path}"
    command = ["curl", "--silent", "--show-error", "--fail", "--cacert", str(server.root_pem), url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def now_text() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_the_register_follows_a_certificate(shared: Server) -> None:
    before = json.loads(curl(shared, "/register/feed?limit=1000"))["next"]
    certificate = shared.device(new_key(), "register-1")
    shared.suspend(certificate)
    serial = serial_of(certificate).lower().zfill(32)
    feed = json.loads(curl(shared, f"/register/feed?after={before}"))
    told = [entry["state"] for entry in feed["entries"] if entry["serial"] == serial]
    assert told == ["active", "suspended"]
    page = curl(shared, f"/register?serial={serial}")
    assert "Түдгэлзүүлсэн" in page
    assert "register-1" not in page
    assert "register-1" not in json.dumps(feed)


def test_evidence_of_a_hold_from_a_running_server(shared: Server, tmp_path: Path) -> None:
    """Everything an auditor needs comes through the control socket; openssl and the check agree with it."""
    certificate = shared.device(new_key(), "evidence-1")
    serial = serial_of(certificate)
    time.sleep(1.1)  # each event in a second of its own
    shared.suspend(certificate)
    eventually(lambda: _listed(shared, certificate.serial_number), "the CRL to list the hold")
    time.sleep(1.1)
    moment = now_text()
    time.sleep(1.1)
    shared.restore(certificate)
    shared.shows(certificate, "good")
    folder = tmp_path / "case"
    words = ("status", "at", serial, "--time", moment)
    assert "suspended" in done(run_program(shared.home, *words))
    answer = json.loads(done(run_program(shared.home, *words, "--evidence", str(folder), "--json")))
    assert answer["status"] == "suspended"
    assert answer["crls"][0]["said"].startswith("certificateHold since ")
    assert answer["ocsp"].startswith("revoked, in force from ")
    checked = json.loads(
        done(run_program(tmp_path / "no-home", "audit", "check-evidence", str(folder), "--json"))
    )
    assert (checked["status"], checked["events"]) == ("suspended", 3)
    assert "verify OK" in openssl(
        folder, "crl", "-inform", "DER", "-in", "crl.der", "-CAfile", "chain.pem", "-noout"
    )
    said = openssl(
        folder,
        *("ocsp", "-respin", "ocsp-response.der", "-issuer", "issuer.pem", "-cert", "certificate.pem"),
        *("-CAfile", "chain.pem", "-no_nonce"),
    )
    assert "Response verify OK" in said
    assert "revoked" in said
    assert "certificateHold" in said
    again = run_program(shared.home, *words, "--evidence", str(folder))
    assert again.returncode == 1
    assert "a folder of its own" in again.stderr


def _listed(server: Server, serial: int) -> bool:
    return server.crl().get_revoked_certificate_by_serial_number(serial) is not None


def openssl(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return run.stdout + run.stderr


def test_nobody_knows_the_future(shared: Server) -> None:
    serial = serial_of(shared.device(new_key(), "future-1"))
    refused = run_program(shared.home, "status", "at", serial, "--time", "2999-01-01T00:00:00Z")
    assert refused.returncode == 1
    assert "in the future" in refused.stderr


def test_the_export_is_what_is_served(shared: Server, tmp_path: Path) -> None:
    shared.device(new_key(), "export-1")
    target = tmp_path / "www"
    done(run_program(shared.home, "crl", "export", "--dir", str(target)))
    for path in ("crl/government.crl", "ca/root.cer", "ca/chain.pem"):
        assert (target / path).read_bytes() == shared.get(f"/{path}").body
    assert "verify OK" in openssl(
        target, "crl", "-inform", "DER", "-in", "crl/root.crl", "-CAfile", "ca/root.pem", "-noout"
    )
    again = json.loads(done(run_program(shared.home, "crl", "export", "--dir", str(target), "--json")))
    assert "ca/root.cer" not in [one["file"] for one in again["files"]]
    refused = run_program(shared.home, "crl", "export", "--dir", str(shared.home / "public"))
    assert refused.returncode == 1
    assert "a folder of its own" in refused.stderr
