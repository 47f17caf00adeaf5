"""The screen of `serve --welcome`: its commands work as pasted."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from foreign_clients import tool
from server_harness import ANY_PORTS, PATIENCE_S, PROGRAM, eventually

pytestmark = pytest.mark.interop


@contextmanager
def welcomed(home: Path, folder: Path) -> Iterator[str]:
    """A server started in `folder` with a welcome; gives the screen, and stops by Ctrl-C."""
    screen = folder / "screen"
    command = [PROGRAM, "--home", str(home), "serve", "--welcome", *ANY_PORTS]
    with screen.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        eventually(lambda: "certificate suspend" in screen.read_text(), "the welcome screen")
        yield screen.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, screen.read_text()


def commands(screen: str) -> list[str]:
    """Return the blocks of commands on the screen, each with the comment that stands above it."""
    _, _, shown = screen.partition("Try it in another terminal, in this folder:\n")
    return [block for block in shown.split("\n\n") if block.strip().startswith("#")]


def paste(block: str, folder: Path) -> str:
    """Type a block of the screen into bash, where it must work, and return what it prints."""
    run = pasted(block, folder)
    assert run.returncode == 0, run.stderr
    return run.stdout


def pasted(block: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_commands_work_as_pasted(home: Path, tmp_path: Path) -> None:
    with welcomed(home, tmp_path) as screen:
        assert "pkiserver is running. Ctrl-C stops it." in screen
        enrol, ask, crl, suspend = commands(screen)
        paste(enrol, tmp_path)
        certificate = x509.load_pem_x509_certificate((tmp_path / "my.crt").read_bytes())
        assert certificate.subject.rfc4514_string() == "CN=www.example.mn"
        eventually(lambda: "my.crt: good" in pasted(ask, tmp_path).stdout, "OCSP to say good")
        assert "No Revoked Certificates" in paste(crl, tmp_path)
        assert "suspended" in paste(suspend, tmp_path)
        eventually(lambda: "my.crt: revoked" in paste(ask, tmp_path), "OCSP to say revoked")
        eventually(lambda: "Certificate Hold" in paste(crl, tmp_path), "the CRL to say so")
        assert_files_are_where_the_screen_says(screen, tmp_path)


def test_the_whole_screen_pasted_at_once(home: Path, tmp_path: Path) -> None:
    """What is acknowledged is served: nobody has to wait between the commands."""
    with welcomed(home, tmp_path) as screen:
        _, _, shown = screen.partition("Try it in another terminal, in this folder:\n")
        printed = paste(shown, tmp_path)
        assert "my.crt: good" in printed
        assert "suspended" in printed


def assert_files_are_where_the_screen_says(screen: str, folder: Path) -> None:
    for path in ("home/public/ca/root.pem", "home/public/ca/chain.pem"):
        assert f" {path}" in screen
        assert (folder / path).exists()
    administrator = folder / "home/administrator"
    assert " home/administrator/administrator.p12 and .pem" in screen
    opened = tool(
        *("openssl", "pkcs12", "-in", administrator / "administrator.p12", "-nodes"),
        *("-passin", f"file:{administrator / 'password'}"),
    )
    assert b"PRIVATE KEY" in opened.stdout


def test_a_second_start_gives_a_fresh_credential_and_cancels_the_first(home: Path, tmp_path: Path) -> None:
    with welcomed(home, tmp_path) as screen:
        first = commands(screen)[0]
    with welcomed(home, tmp_path) as screen:
        enrol = commands(screen)[0]
        refused = first.replace(url_of(first), url_of(enrol))
        with pytest.raises(AssertionError):
            paste(refused, tmp_path)
        assert refused != enrol
        paste(enrol, tmp_path)


def url_of(block: str) -> str:
    return next(word for word in block.split() if word.startswith("https://"))


def test_a_second_start_takes_the_first_credential_back_on_record(home: Path, tmp_path: Path) -> None:
    with welcomed(home, tmp_path):
        pass
    with welcomed(home, tmp_path):
        pass
    listed = json.loads(tool(PROGRAM, "--home", str(home), "credential", "list", "--json").stdout)
    assert [one["state"] for one in listed] == ["usable", "cancelled"]
    log = json.loads(tool(PROGRAM, "--home", str(home), "audit", "list", "--json").stdout)
    assert "credential.cancel" in {one["action"] for one in log}
