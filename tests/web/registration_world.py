"""A world for tests of registration over the API: two offices, a civil registry, what is in each place."""

import base64
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from pkiserver.ra.registration.applications import NewApplication
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.x509.names import parse_subject
from store.applications import ApplicationRecord
from tests.citizens import FORM
from tests.web.api_harness import Client, Desk, Reply

OTHER_FORM = FORM | {
    "register_number": "УА90051207",
    "civil_id": "210987654321",
    "birth_date": "1990-05-12",
    "parent_name": "Ган",
    "given_name": "Сараа",
    "mail": "saraa@example.mn",
}
DRAFT: dict[str, Any] = {"office": "ub-1", "form": FORM}
PROOF = {"proof": "fingerprint", "text": "check-1"}
ALL_EXPLAINED = {
    "acknowledged": ["legal_effect", "conditions_of_use", "confidentiality", "liability"],
    "text_version": "2026-1",
}
LOCAL = Actor(
    "user:root",
    tuple(
        Assignment(role, everywhere=True) for role in (Role.ADMINISTRATOR, Role.REGISTRAR, Role.SPECIALIST)
    ),
)


def on_behalf_of(civil_id: str, by: str = "fingerprint", reference: str = "check-1") -> dict[str, str]:
    """Return the header by which a service names a holder."""
    return {"On-Behalf-Of": f'civil-id="{civil_id}", by={by}, reference="{reference}"'}


def citizen(form: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    names = ("register_number", "civil_id", "birth_date", "parent_name", "given_name")
    return {name: form[name] for name in names} | {
        "clan_name": None,
        "entitled": True,
        "fingerprints": [fingerprint],
    }


class World:
    """What a desk has to act on."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.core = desk.core

    async def make(self) -> "World":
        """Open two offices and fill the civil registry."""
        for code in ("ub-1", "ub-2"):
            await self.desk.command(
                "office.add",
                code=code,
                name=code,
                kind="branch",
                opens_at="09:00",
                closes_at="18:00",
                break_from="13:00",
                break_to="14:00",
                weekdays="12345",
            )
        citizens = [citizen(FORM, "check-1"), citizen(OTHER_FORM, "check-2")]
        self.core.home.civil_registry.write_text("".join(json.dumps(one) + "\n" for one in citizens))
        return self

    async def registrar(self, name: str = "bat", office: str = "ub-1", role: str = "registrar") -> Client:
        return await self.desk.actor(name, role, office=office)

    async def draft(
        self, office: str = "ub-1", form: dict[str, Any] = FORM, delivery: str = "office"
    ) -> ApplicationRecord:
        new = NewApplication(office, form, delivery=delivery)
        return await self.core.registration.applications.draft(LOCAL, new)

    async def verified(
        self, office: str = "ub-1", form: dict[str, Any] = FORM, delivery: str = "office"
    ) -> ApplicationRecord:
        made = await self.draft(office, form, delivery)
        proof = IdentityProof.of("register_numbers", "the reader is broken")
        return await self.core.registration.applications.verify(LOCAL, made.id, made.version, proof)

    async def pulled(self, plant: str, office: str = "ub-1", form: dict[str, Any] = FORM) -> tuple[int, str]:
        """Have a plant pull a card; return the batch and the card's reference."""
        await self.verified(office, form, "plant")
        actor, plants = Actor(plant, (Assignment(Role.PLANT),)), self.core.registration.plant
        batch = await plants.pull(actor, plant, 1, "pull-of-the-world")
        [card] = await plants.cards(actor, batch.id, limit=10)
        return batch.id, card.record.reference


async def moved(client: Client, reply: Reply, step: str, body: object = None, **headers: str) -> Reply:
    """Move an application on from where an answer showed it."""
    assert reply.status == 200, reply.octets
    path = f"/applications/{reply.body['application']}/{step}"
    return await client.post(path, body, If_Match=reply.etag, **headers)


async def enrolled(
    client: Client, credential: dict[str, Any], key: ec.EllipticCurvePrivateKey | None = None
) -> x509.Certificate:
    """Enrol over EST with a credential, for a subject that nobody approved."""
    request = x509.CertificateSigningRequestBuilder().subject_name(parse_subject("CN=Somebody Else"))
    octets = request.sign(key or ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)
    secret = base64.b64encode(f"{credential['reference']}:{credential['secret']}".encode()).decode()
    headers = {"Content-Type": "application/pkcs10", "Authorization": f"Basic {secret}"}
    reply = await client.ask(
        "POST", "/.well-known/est/simpleenroll", headers=headers, data=base64.b64encode(octets)
    )
    assert reply.status == 200, reply.octets
    return pkcs7.load_der_pkcs7_certificates(base64.b64decode(reply.octets))[0]
