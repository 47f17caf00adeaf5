"""Looks a home over, server running or not, and says what is wrong and what to do about it."""

import asyncio
import json
import os
import shutil
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from config.errors import ConfigError
from config.schema import Settings
from config.schema_status import load_status_settings
from pkiserver.core import load_configuration
from pkiserver.home import Home

EXPIRY_WARNING: Final = timedelta(days=30)
READY_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `detail` says what to do where it is not ok."""

    check: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON can carry it."""
        return asdict(self)


async def examine(home: Home) -> list[Finding]:
    """Return every finding about a home, in the order in which an operator would look."""
    if not home.exists():
        return [Finding("home", False, f"there is no home at {home.path}: run `pkiserver init --defaults`")]
    findings = [Finding("home", True, str(home.path))]
    if not home.database.exists() and not home.keys.exists():
        return findings + await asyncio.to_thread(_status_machine, home)
    try:
        settings, profiles = load_configuration(home)
    except ConfigError as error:
        return findings + [Finding("configuration", False, str(finding)) for finding in error.findings]
    findings.append(Finding("configuration", True, f"{len(profiles)} certificate profiles"))
    findings += _permissions(home)
    findings += _disk(home, settings)
    findings += _certificates(home)
    findings += await asyncio.to_thread(lambda: list(_server(home.endpoints)))
    if home.status_endpoints.exists():
        findings += await asyncio.to_thread(lambda: list(_server(home.status_endpoints)))
    findings += _weak_keys(settings)
    return findings


def _status_machine(home: Home) -> list[Finding]:
    """Return what there is to say of the home of a machine that only serves status."""
    try:
        load_status_settings(home.configuration)
    except ConfigError as error:
        return [Finding("configuration", False, str(finding)) for finding in error.findings]
    return [
        Finding("configuration", True, "only serves status"),
        *(finding for finding in _certificates(home) if finding.check == "crl"),
        *_server(home.status_endpoints),
    ]


def _permissions(home: Home) -> Iterator[Finding]:
    for folder in (home.path, home.keys, home.tls, home.administrator, home.run):
        if not folder.is_dir():
            yield Finding("permissions", False, f"{folder} is missing: run `pkiserver init` again")
        elif stat.S_IMODE(folder.stat().st_mode) & 0o077:
            yield Finding("permissions", False, f"others may enter {folder}: chmod 700 it")
    for path in (*home.keys.glob("*"), *home.tls.glob("*"), home.database):
        if path.is_file() and path.stat().st_uid != os.geteuid():
            yield Finding("permissions", False, f"{path} belongs to another user: chown it to the server's")


def _disk(home: Home, settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(home.path).free
    enough = free >= settings.storage.min_free
    need = settings.storage.min_free >> 20
    detail = f"{free >> 20} MiB free" + ("" if enough else f", {need} MiB needed: make room")
    yield Finding("disk", enough, detail)


def _certificates(home: Home) -> Iterator[Finding]:
    now = datetime.now(UTC)
    paths = [*sorted((home.public / "ca").glob("*.cer")), home.tls / "server.pem"]
    for path in paths:
        certificate = _certificate(path)
        if certificate is None:
            detail = f"{path} is missing or damaged: is the hierarchy complete? see `pkiserver ca list`"
            yield Finding("certificate", False, detail)
            continue
        left = certificate.not_valid_after_utc - now
        yield Finding("certificate", left > EXPIRY_WARNING, f"{path.name}: {left.days} days left")
    for path in sorted((home.public / "crl").glob("*.crl")):
        try:
            next_update = x509.load_der_x509_crl(path.read_bytes()).next_update_utc
        except ValueError:
            yield Finding("crl", False, f"{path} is damaged: start the server, which writes it again")
            continue
        fresh = next_update is not None and next_update > now
        detail = f"{path.name}: nextUpdate {next_update:%Y-%m-%d %H:%M} UTC"
        yield Finding("crl", fresh, detail if fresh else f"{detail} has passed: start the server")


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        content = path.read_bytes()
        if path.suffix == ".cer":
            return x509.load_der_x509_certificate(content)
        return x509.load_pem_x509_certificates(content)[0]
    except (FileNotFoundError, ValueError):
        return None


def _server(endpoints: Path) -> Iterator[Finding]:
    try:
        metrics = json.loads(endpoints.read_text())["metrics"]
    except FileNotFoundError:
        yield Finding("server", True, "not running")
        return
    except (ValueError, KeyError, TypeError):
        yield Finding("server", False, f"{endpoints} is damaged: start the server again")
        return
    if not metrics:
        yield Finding("server", True, "running; its metrics address is closed, so nothing more is known")
        return
    host, port = metrics[0]
    try:
        causes = _ready(f"http://[{host}]:{port}/ready" if ":" in host else f"http://{host}:{port}/ready")
    except OSError as error:
        yield Finding(
            "server", False, f"it does not answer on its metrics address ({error}): look at its log"
        )
        return
    for cause in causes:
        detail = cause["detail"] or cause["state"]
        yield Finding(f"server: {cause['name']}", cause["state"] == "ok", detail)


def _ready(url: str) -> list[dict[str, str]]:
    try:
        with urllib.request.urlopen(url, timeout=READY_TIMEOUT_S) as response:  # noqa: S310 - our own http address
            body = response.read()
    except urllib.error.HTTPError as error:  # 503 carries the causes as 200 does
        body = error.read()
    causes: list[dict[str, str]] = json.loads(body)["causes"]
    return causes


def _weak_keys(settings: Settings) -> Iterator[Finding]:
    if not settings.key_policy.blocklists:
        detail = (
            "no list of Debian weak keys is configured (key_policy.blocklists): only the example key of"
            " CVE-2008-0166 is known"
        )
        yield Finding("weak keys", True, detail)
