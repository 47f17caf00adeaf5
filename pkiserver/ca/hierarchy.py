"""Makes the authorities and their OCSP signers, and renews the signers in time.

Every step is "have it, or make it", found by key in the store, so that a set-up that was cut short is
simply run again. All certificates take the one way through `issuance`.
"""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from config.schema import Settings
from config.schema_authorities import Authority as AuthoritySettings
from pkiserver import audit
from pkiserver.ca.authorities import Authority
from pkiserver.ca.identity import Identity
from pkiserver.ca.own_certificates import SYSTEM, Attempts, CAServices, renewal_due
from pkiserver.progress import Progress, silent
from pkiserver.signer.algorithms import KeySpec, load_public_key
from protocols.x509.names import parse_subject
from store import audit as audit_chain
from store import authorities as rows
from store.database import Transaction
from store.records import AuthorityRecord

ROOT_PROFILE: Final = "root-ca"
ISSUING_PROFILE: Final = "issuing-ca"
RESPONDER_PROFILE: Final = "ocsp-responder"


class Hierarchy:
    """Sets the authorities up and keeps their OCSP signers current."""

    def __init__(self, services: CAServices) -> None:
        self._services = services
        self._settings = services.settings
        self._storage = services.storage
        self._signer = services.signer
        self._authorities = services.authorities

    async def set_up(self, progress: Progress, *, offline_root: bool = False) -> None:
        """Make every key and certificate that is missing; with `offline_root` no key for the root.

        Issuing authorities below an offline root wait for their certificates: `csr`, `import_certificate`.
        """
        await self._add_authorities(offline_root=offline_root)
        for record in self._authorities.pending:
            progress(f"authority {record.name}")
            await self.certify(record)
        await self.maintain(progress)

    async def maintain(self, progress: Progress = silent) -> bool:
        """Make or renew the OCSP signers that are due; True when any was made.

        One that cannot be made does not hold up the others; `UnavailableError` names all that could not.
        """
        attempts = Attempts()
        for authority in list(self._authorities):
            if self._responder_due(authority):
                name = f"OCSP responder of {authority.handle}"
                progress(name)
                await attempts.attempt(name, self._make_responder(authority))
        return attempts.finish()

    async def ensure_responder(self, authority: Authority) -> None:
        """Make an OCSP signer of one authority where that is due, and its key is here."""
        if authority.key_label is not None and self._responder_due(authority):
            await self._make_responder(authority)

    async def _add_authorities(self, *, offline_root: bool) -> None:
        await self._authorities.reload(self._storage)
        known = {record.name for record in self._authorities.records}

        def transaction(tx: Transaction) -> None:
            for name, authority in _parents_first(self._settings):
                if name not in known:
                    label = None if offline_root and not authority.parent else f"ca-{name}"
                    rows.add_authority(tx, name, authority.parent or None, label)
                    entry = audit.entry(self._services.clock.now(), SYSTEM, "authority.add", authority=name)
                    audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)

    async def _ensure_key(self, label: str | None, kind: str) -> None:
        if label is not None and label not in await self._signer.labels():
            await self._signer.generate(label, KeySpec.parse(kind))
            entry = audit.entry(self._services.clock.now(), SYSTEM, "key.generate", label=label, kind=kind)
            await self._storage.write(lambda tx: audit_chain.append(tx, entry))

    async def certify(self, record: AuthorityRecord) -> None:
        """Give a generation that waits for it its key and certificate, unless those come from outside."""
        settings = self._settings.authorities[record.name]
        await self._ensure_key(record.key_label, settings.key)
        above = self._authorities.record(record.parent) if record.parent else record
        if above.key_label is None or record.key_label is None:
            return
        certificate = await self._services.issue(
            ISSUING_PROFILE if record.parent else ROOT_PROFILE,
            f"{above.name}.{above.generation}",
            Identity(parse_subject(settings.subject)),
            load_public_key(await self._signer.public_key(record.key_label)),
            settings.lifetime,
        )
        await self.set_certificate(record, certificate, SYSTEM, "authority.certify")

    async def set_certificate(
        self, record: AuthorityRecord, certificate: x509.Certificate, actor: str, action: str
    ) -> None:
        """Record the certificate of a generation and let the other parts see it."""
        fingerprint, der = certificate.fingerprint(SHA256()).hex(), certificate.public_bytes(Encoding.DER)
        now = self._services.clock.now()
        entry = audit.entry(now, actor, action, authority=record.handle, sha256=fingerprint)

        def transaction(tx: Transaction) -> None:
            rows.set_certificate(tx, record.id, der)
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)

    def _responder_due(self, authority: Authority) -> bool:
        now = self._services.clock.now()
        if authority.state != "prepared" and not authority.answers_at(now):
            return False  # an authority that has ended makes no responder any more
        responder = self._authorities.responder(authority.id)
        return responder is None or renewal_due(responder.certificate, authority.certificate, now)

    async def _make_responder(self, authority: Authority) -> None:
        settings = self._settings.authorities[authority.name]
        count = await self._storage.read(
            lambda tx: sum(record.authority == authority.id for record in rows.all_responders(tx))
        )
        label = f"ocsp-{authority.handle}-{count + 1}"
        await self._ensure_key(label, settings.responder_key)
        certificate = await self._services.issue(
            RESPONDER_PROFILE,
            authority.exact,
            Identity(responder_name(authority.certificate.subject, count + 1)),
            load_public_key(await self._signer.public_key(label)),
            settings.responder_lifetime,
            until_issuer_ends=True,
        )
        der, not_after = certificate.public_bytes(Encoding.DER), certificate.not_valid_after_utc
        await self._storage.write(lambda tx: rows.add_responder(tx, authority.id, label, der, not_after))
        await self._authorities.reload(self._storage)


def responder_name(authority: x509.Name, number: int) -> x509.Name:
    """Return the name of an authority's OCSP signer: the authority's, with another commonName."""
    return x509.Name(
        [
            x509.NameAttribute(attribute.oid, f"{attribute.value!s} OCSP {number}")
            if attribute.oid == x509.NameOID.COMMON_NAME
            else attribute
            for attribute in authority
        ]
    )


def _parents_first(settings: Settings) -> list[tuple[str, AuthoritySettings]]:
    return sorted(settings.authorities.items(), key=lambda item: bool(item[1].parent))
