"""An organisation with a contract, who speaks for it, and officers who have their certificates."""

import json
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.core import Core
from pkiserver.ra.registration.application_ends import Explanation
from pkiserver.ra.registration.contracts import Event
from pkiserver.ra.registration.imports import ImportOptions
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.requester import Channel, Password, Requester
from protocols.x509.names import parse_subject
from store import applications, certificates, crl_entries
from store.applications import ApplicationRecord

NUMBER = "1234567"
SPECIALIST = Actor("specialist-1", (Assignment(Role.SPECIALIST),))
LIST = (
    "parent_name,given_name,register_number,civil_id,work_mail,phone,position,unit\n"
    "Дорж,Сараа,УК90061224,123456789013,saraa@tax.gov.mn,88112233,Дарга,"
)
SARAA: dict[str, Any] = {
    "register_number": "УК90061224",
    "civil_id": "123456789013",
    "birth_date": "1990-06-12",
    "parent_name": "Дорж",
    "clan_name": None,
    "given_name": "Сараа",
    "entitled": True,
    "fingerprints": ["check-2"],
}


@dataclass(frozen=True)
class Organization:
    """An organisation that sends lists of its officers."""

    core: Core
    id: int

    @classmethod
    async def of(cls, core: Core) -> "Organization":
        """Register one that has a contract."""
        services = core.registration.organizations
        record = await services.register("public", NUMBER, "Татварын ерөнхий газар", "info@tax.gov.mn")
        for event in (Event.SEND_CONTRACT, Event.SIGN_CONTRACT):
            record = await services.move(SPECIALIST, NUMBER, event, record.version, "letter 12")
        await services.set_domains(SPECIALIST, NUMBER, ("gov.mn",))
        return cls(core, record.id)

    @property
    def officer(self) -> Actor:
        """Who speaks for it."""
        return Actor("org-1", (Assignment(Role.ORG_OFFICER, organization=self.id),))

    async def issued(self, listed: str = LIST, on_record: dict[str, Any] = SARAA) -> ApplicationRecord:
        """Have its officer get a certificate."""
        with self.core.home.civil_registry.open("a") as registry:
            registry.write(json.dumps(on_record) + "\n")
        services = self.core.registration
        report = await services.imports.run(SPECIALIST, NUMBER, listed.encode(), ImportOptions())
        made = report.rows[0].application or 0
        proof = IdentityProof.of("register_numbers", "appointment paper 4")
        verified = await services.applications.verify(SPECIALIST, made, 1, proof)
        new = await services.issuing.begin(SPECIALIST, made, verified.version)
        request = x509.CertificateSigningRequestBuilder().subject_name(parse_subject("CN=x"))
        octets = request.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)
        who = Requester("192.0.2.7", Channel("TLS 1.3"), Password(new.reference, new.secret), None)
        await self.core.enrollment.enroll(octets, who, None)
        return await self.record(made)

    async def record(self, application: int) -> ApplicationRecord:
        """Return an application as it is."""
        found = await self.core.storage.read(lambda tx: applications.get(tx, application))
        assert found is not None
        return found

    async def delivered(self, issued: ApplicationRecord) -> ApplicationRecord:
        """Hand a token over."""
        services = self.core.registration.application_ends
        signed = await services.sign_off(SPECIALIST, issued.id, issued.version, "stamped")
        return await services.deliver(SPECIALIST, issued.id, signed.version, frozenset(Explanation), "2026-1")

    async def state(self, issued: ApplicationRecord) -> tuple[str, int | None]:
        """Return the state of a certificate and the reason that CRL and OCSP give, if any."""
        assert issued.authority is not None
        assert issued.serial is not None
        named = (issued.authority, issued.serial)
        state = await self.core.storage.read(lambda tx: certificates.state_of(tx, *named))
        told = await self.core.storage.read(lambda tx: crl_entries.current(tx, *named))
        assert state is not None
        return state, None if told is None else told.reason
