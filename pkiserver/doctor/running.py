"""Asks a running server how it is."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final

from pkiserver.doctor.finding import Finding
from pkiserver.home import Home, Role, is_at_work

READY_TIMEOUT_S: Final = 5.0
_CAUSE_ADVICE: Final = {
    "storage": "make room on the disk, or mend it; issuing goes on by itself",
    "clock": "set the clock right (NTP); issuing goes on when it has caught up",
    "presigner": "look at the signer and the disk; it tries again by itself",
    "crl": "look at the signer and the disk; `pkiserver crl publish` tries at once",
    "responses": "look at the machine that exports, and at what carries the exports here",
    "signer": "look at the token and at the log; `pkiserver signer show` counts the faults",
}


def server(home: Home, role: Role = "writer") -> Iterator[Finding]:
    """Yield the causes of readiness of the server with this role, or that none runs."""
    endpoints = home.endpoints if role == "writer" else home.status_endpoints
    if not endpoints.exists() or not is_at_work(home, role):  # a killed server leaves its endpoints behind
        yield Finding("server", True, "not running")
        return
    try:
        metrics = json.loads(endpoints.read_text())["metrics"]
        address = (str(metrics[0][0]), int(metrics[0][1])) if metrics else None
    except (ValueError, KeyError, TypeError, IndexError):
        yield Finding("server", False, f"{endpoints} is damaged: restart the server")
        return
    if address is None:
        yield Finding("server", True, "running; its metrics address is closed, so nothing more is known")
        return
    yield from _readiness(*address)


def _readiness(host: str, port: int) -> Iterator[Finding]:
    try:
        causes = _ready(f"http://[{host}]:{port}/ready" if ":" in host else f"http://{host}:{port}/ready")
        states = [(str(one["name"]), str(one["state"]), str(one["detail"])) for one in causes]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        detail = f"it does not answer on its metrics address ({error}): look at its log"
        yield Finding("server", False, detail)
        return
    for name, state, detail in states:
        advice = "" if state == "ok" else f": {_CAUSE_ADVICE.get(name, 'look at its log')}"
        yield Finding(f"server: {name}", state == "ok", (detail or state) + advice)


def _ready(url: str) -> list[dict[str, str]]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    try:
        with opener.open(url, timeout=READY_TIMEOUT_S) as response:
            body = response.read()
    except urllib.error.HTTPError as error:  # 503 carries the causes as 200 does
        body = error.read()
    causes: list[dict[str, str]] = json.loads(body)["causes"]
    return causes
