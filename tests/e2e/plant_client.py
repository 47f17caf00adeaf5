"""A printing plant as a client of a running server: the API and EST by its RA certificate over mutual TLS."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_messages import Reply, ask, csr_for, key_pem, new_key
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_clients import save_certificate
from server_harness import Server

CITIZENS = (("00", "Дорж"), ("01", "Болд"), ("02", "Сараа"))
FORM: dict[str, Any] = {
    "aimag": "Улаанбаатар",
    "district": "Сүхбаатар",
    "birth_date": "2005-03-14",
    "parent_name": "Бат",
    "address": "1-р хороо 5-12",
    "phone": "99112233",
    "mail": "dorj@example.mn",
    "use_restricted": False,
    "value_limited": False,
}


def verified(server: Server) -> list[int]:
    """Have citizens wait for their cards; return the numbers of their applications."""
    people = [
        {"register_number": f"УБ052314{two}", "civil_id": f"1234567890{two}", "given_name": name}
        for two, name in CITIZENS
    ]
    known = {"birth_date": FORM["birth_date"], "parent_name": FORM["parent_name"], "clan_name": None}
    checks = [{"entitled": True, "fingerprints": [f"check-{two}"]} for two, _ in CITIZENS]
    registry = "".join(
        json.dumps(known | mine | one) + "\n" for mine, one in zip(checks, people, strict=True)
    )
    (server.home / "civil-registry.jsonl").write_text(registry)
    hours = {"opens_at": "09:00", "closes_at": "18:00", "break_from": "13:00", "break_to": "14:00"}
    server.command("office.add", code="ub-1", name="Сүхбаатар", kind="branch", weekdays="12345", **hours)
    kind = {"channel": "branch", "carrier": "id_card", "profile": "citizen-signature", "delivery": "plant"}
    made = [
        server.command("application.create", office="ub-1", fields=FORM | one, **kind)["id"] for one in people
    ]
    for number, (two, _) in zip(made, CITIZENS, strict=True):
        proof = {"fingerprint": f"check-{two}", "reason": None, "version": None}
        found = server.command("application.verify", application=number, **proof)
        assert found["state"] == "verified", server.command("application.show", application=number)
    return made


@dataclass(frozen=True)
class Station:
    """The files of a plant's RA certificate."""

    certificate_file: Path
    key_file: Path

    @classmethod
    def registered(cls, server: Server, folder: Path, name: str = "plant-1") -> "Station":
        key = new_key()
        certificate = server.issued(key, "registration-client", f"CN={name}")
        (folder / f"{name}.key").write_bytes(key_pem(key))
        saved = save_certificate(folder / f"{name}.pem", certificate)
        server.command("actor.add", name=name, role="plant", pem=saved.read_text())
        return cls(saved, folder / f"{name}.key")

    def ask(self, server: Server, method: str, path: str, body: object = None, key: str = "") -> Reply:
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        octets = None if body is None else json.dumps(body).encode()
        connection = server.connection(server.tls((self.certificate_file, self.key_file)))
        try:
            return ask(connection, method, f"/api/v1/plant{path}", octets, headers)
        finally:
            connection.close()

    def pull(self, server: Server, key: str, size: int = 10) -> Reply:
        return self.ask(server, "POST", "/batches", {"size": size}, key)

    def cards(self, server: Server, batch: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = read(self.ask(server, "GET", f"/batches/{batch}/cards"))["items"]
        return found

    def report(self, server: Server, batch: int, card: str, **result: str) -> Reply:
        return self.ask(server, "POST", f"/batches/{batch}/cards/{card}/result", result)

    def enroll(self, server: Server, card: str, key: ec.EllipticCurvePrivateKey) -> Reply:
        body = base64.b64encode(csr_for(key, "CN=whoever").public_bytes(Encoding.DER))
        connection = server.connection(server.tls((self.certificate_file, self.key_file)))
        try:
            path, headers = f"/.well-known/est/{card}/simpleenroll", {"Content-Type": "application/pkcs10"}
            return ask(connection, "POST", path, body, headers)
        finally:
            connection.close()


def read(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply
    found: dict[str, Any] = json.loads(reply.body)
    return found


def live(server: Server) -> set[int]:
    """Return the serials of the citizens' certificates that are good."""
    listed = server.certificates()
    mine = [one for one in listed if one["profile"] == "citizen-signature" and one["status"] == "active"]
    return {int(one["serial"], 16) for one in mine}
