"""Holds what a running server says in its several voices against each other."""

import json
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from server_harness import Server, eventually

AUTHORITIES = ("root", "citizen", "government", "infrastructure")
NO_STATUS = ("root-ca", "ocsp-responder")  # profiles that nobody is to ask OCSP about


def database_rows(home: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read the store past the server, for what no command shows."""
    connection = sqlite3.connect(f"file:{home / 'pkiserver.db'}?mode=ro", uri=True)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def assert_consistent(server: Server) -> None:
    """Hold store, audit, OCSP and CRL of a running server against each other.

    What follows the store (responses, CRLs) is given time to.
    """
    head = server.command("audit.head")
    verified = server.command("audit.verify", head=json.dumps(head))
    assert verified["sequence"] >= head["sequence"] > 0
    states = database_rows(server.home, "SELECT serial, state FROM issuances")
    assert {state for _, state in states} <= {"issued", "voided"}
    listed = server.certificates()
    assert {serial(found) for found in listed} == {
        number(blob) for blob, state in states if state == "issued"
    }
    for found in listed:
        eventually(partial(ocsp_agrees, server, found), f"OCSP to agree on {found}")
    for blob, state in states:
        if state == "voided":
            assert server.ocsp_status("infrastructure", number(blob)) == "unauthorized"
    for name in AUTHORITIES:
        eventually(partial(crl_agrees, server, name, listed), f"the CRL of {name} to agree")


def number(blob: bytes) -> int:
    return int.from_bytes(blob, "big")


def serial(found: dict[str, Any]) -> int:
    return int(found["serial"], 16)


def ocsp_agrees(server: Server, found: dict[str, Any]) -> bool:
    if found["profile"] in NO_STATUS:
        return True
    expected = "good" if found["status"] == "active" else "revoked"
    return server.ocsp_status(found["ca"], serial(found)) == expected


def crl_agrees(server: Server, name: str, listed: list[dict[str, Any]]) -> bool:
    expected = {
        serial(found)
        for found in listed
        if found["ca"] == name and found["status"] in ("suspended", "revoked")
    }
    return {entry.serial_number for entry in server.crl(name)} == expected
