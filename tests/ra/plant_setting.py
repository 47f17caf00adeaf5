"""A printing plant on a real store, signer and clock: citizens who wait for cards, and who makes them."""

import json
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.identity import Identity
from pkiserver.core import Core
from pkiserver.progress import silent
from pkiserver.ra.registration.applications import NewApplication
from pkiserver.ra.registration.offices import OfficeForm
from pkiserver.ra.registration.plant import PlantCard
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.requester import Channel, Requester
from protocols.x509.names import parse_subject
from store import applications as rows
from store.applications import ApplicationRecord
from store.plant import BatchRecord, CardRecord, Result
from store.records import CertificateRecord

ADMINISTRATOR = Actor("administrator", (Assignment(Role.ADMINISTRATOR),))
FIELDS: dict[str, Any] = {
    "aimag": "Улаанбаатар",
    "district": "Сүхбаатар",
    "birth_date": "2005-03-14",
    "parent_name": "Бат",
    "clan_name": "Боржигон",
    "address": "1-р хороо 5-12",
    "phone": "99112233",
    "mail": "dorj@example.mn",
    "use_restricted": False,
    "value_limited": True,
    "limit_mnt": 5_000_000,
}
NAMES = (
    "Дорж",
    "Болд",
    "Сараа",
    "Туяа",
    "Ганаа",
    "Оюун",
    "Цэцэг",
    "Наран",
    "Энхээ",
    "Мөнхөө",
    "Пүрэв",
    "Лхам",
)


def citizen(number: int) -> dict[str, Any]:
    """Return what a form and the civil registry say of one of them."""
    return {
        "register_number": f"УБ052314{number:02d}",
        "civil_id": f"1234567890{number:02d}",
        "given_name": NAMES[number % len(NAMES)],
    }


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def csr_of(key: ec.EllipticCurvePrivateKey, subject: str = "CN=Somebody Else") -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_subject(subject))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@dataclass
class Setting:
    """Citizens, an office, and plants with RA certificates."""

    core: Core
    registrar: Actor
    registry: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    async def of(cls, core: Core) -> "Setting":
        office = await core.registration.offices.add(ADMINISTRATOR, "ub-1", OfficeForm("Сүхбаатар дүүрэг"))
        return cls(core, Actor("registrar-1", (Assignment(Role.REGISTRAR, office=office.id),)))

    async def plant(self, name: str, role: str = "plant", profile: str = "registration-client") -> "APlant":
        """Return a plant with a certificate of its own, registered for an actor."""
        key = new_key()
        request = AuthorizedRequest(
            profile=self.core.profiles[profile],
            authority="infrastructure",
            identity=Identity(parse_subject(f"CN={name}")),
            public_key=key.public_key(),
            requested_by="test",
        )
        record = await self.core.issuance.certify(request)
        pem = x509.load_der_x509_certificate(record.certificate).public_bytes(Encoding.PEM).decode()
        given = {"name": name, "role": role, "pem": pem}
        await self.core.commands.run("actor.add", given, "user:root", silent)
        return APlant(self.core, f"actor:{name}", record, key)

    async def waiting(self, delivery: str = "plant", profile: str = "citizen-signature") -> ApplicationRecord:
        """Return a verified application of a citizen who has none yet."""
        person = citizen(len(self.registry))
        entry = {"clan_name": "БОРЖИГОН", "entitled": True, "fingerprints": ["check-1"]}
        entry |= {"birth_date": FIELDS["birth_date"], "parent_name": "БАТ"} | person
        self.registry.append(entry | {"given_name": person["given_name"].upper()})
        lines = "".join(json.dumps(one) + "\n" for one in self.registry)
        self.core.home.civil_registry.write_text(lines)
        applications = self.core.registration.applications
        new = NewApplication("ub-1", FIELDS | person, profile=profile, delivery=delivery)
        made = await applications.draft(self.registrar, new)
        proof = IdentityProof.of("fingerprint", "check-1")
        return await applications.verify(self.registrar, made.id, made.version, proof)

    async def application(self, number: int) -> ApplicationRecord:
        found = await self.core.storage.read(lambda tx: rows.get(tx, number))
        assert found is not None
        return found

    async def events(self, number: int) -> list[tuple[str, str | None, str]]:
        found = await self.core.storage.read(lambda tx: rows.events(tx, number))
        assert all(one.actor and one.ground for one in found)
        assert [one.version for one in found] == list(range(1, len(found) + 1))
        return [(one.event, one.from_state, one.to_state) for one in found]


@dataclass
class APlant:
    """A plant as a client: it pulls, enrols over EST with its RA certificate, and reports."""

    core: Core
    name: str
    record: CertificateRecord
    key: ec.EllipticCurvePrivateKey
    peer: str = "192.0.2.7"

    @property
    def actor(self) -> Actor:
        return Actor(self.name, (Assignment(Role.PLANT),))

    async def pull(self, size: int = 10, key: str = "pull-0001") -> BatchRecord:
        return await self.core.registration.plant.pull(self.actor, self.name, size, key)

    async def cards(self, batch: int) -> list[PlantCard]:
        return await self.core.registration.plant.cards(self.actor, batch, limit=1000)

    async def batch(self, number: int) -> BatchRecord:
        return await self.core.registration.plant.batch(self.actor, number)

    async def enroll(self, reference: str, csr: bytes) -> x509.Certificate:
        requester = Requester(self.peer, Channel("TLS 1.3"), None, self.record.certificate)
        return x509.load_der_x509_certificate(await self.core.enrollment.enroll(csr, requester, reference))

    async def report(self, batch: int, reference: str, result: Result) -> CardRecord:
        return await self.core.registration.plant_results.report(self.actor, batch, reference, result)
