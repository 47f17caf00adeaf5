"""Authorities whose root is kept outside: their requests, and the certificates that come back."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiserver import audit
from pkiserver.ca.authorities import Authority, issuer_among
from pkiserver.ca.hierarchy import Hierarchy
from pkiserver.ca.own_certificates import CAServices
from pkiserver.errors import ConflictError, RefusedError
from pkiserver.signer.algorithms import load_public_key, signature_algorithm_for
from pkiserver.signer.placeholder import placeholder_key
from protocols.asn1 import der
from protocols.x509.names import parse_subject
from store import audit as audit_chain
from store import authorities as rows
from store.database import Transaction
from store.records import AuthorityRecord

_LINKED: Final = frozenset({"prepared", "published", "active", "retiring"})  # whose links are of use


class OutsideRoot:
    """Lets issuing authorities have their certificates from a root that this installation does not hold."""

    def __init__(self, services: CAServices, hierarchy: Hierarchy) -> None:
        self._services = services
        self._hierarchy = hierarchy

    async def csr(self, name: str, actor: str) -> bytes:
        """Return the DER PKCS #10 request of an authority, signed by its key, for an outside root.

        Audited before the key signs, and after.
        """
        record = self._not_dropped(name)
        if record.key_label is None:
            raise ConflictError(f"the key of authority {name} is kept outside: there is nothing to request")
        public_key = load_public_key(await self._services.signer.public_key(record.key_label))
        algorithm = signature_algorithm_for(public_key)
        subject = parse_subject(self._services.settings.authorities[record.name].subject)
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        draft = builder.sign(placeholder_key(public_key), algorithm.hash)  # type: ignore[arg-type]  # SHA-2 only
        information = draft.tbs_certrequest_bytes
        await self._audit(actor, "authority.request.sign", name, information)
        signature = await self._services.signer.sign(record.key_label, information)
        await self._audit(actor, "authority.request", name, information)
        return der.sequence(information, algorithm.der, der.bit_string(signature))

    async def _audit(self, actor: str, action: str, name: str, information: bytes) -> None:
        digest = hashlib.sha256(information).hexdigest()
        entry = audit.entry(self._services.clock.now(), actor, action, authority=name, tbs_sha256=digest)
        await self._services.storage.write(lambda tx: audit_chain.append(tx, entry))

    async def import_certificate(self, name: str, certificate: x509.Certificate, actor: str) -> None:
        """Take the certificate that an outside root gave to an authority, or the outside root's own.

        Raises `RefusedError` unless it is a CA certificate for this authority's name and key, valid now
        and signed by the authority above; `ConflictError` when the authority has one already.
        """
        record = self._not_dropped(name)
        if record.certificate is not None:
            raise ConflictError(f"authority {name} has its certificate already")
        expected = await self._services.signer.public_key(record.key_label) if record.key_label else None
        parent = self._issuer(record, certificate)
        check_imported(certificate, parent, expected, self._services.clock.now())
        if record.key_label is not None:
            wanted = parse_subject(self._services.settings.authorities[record.name].subject)
            if certificate.subject != wanted:
                raise RefusedError("the certificate's subject is not the configured name of the authority")
        await self._hierarchy.set_certificate(record, certificate, actor, "authority.import")

    async def import_link(self, link: x509.Certificate, actor: str) -> tuple[Authority, Authority]:
        """Take NewWithOld or OldWithNew of a root that is kept outside (RFC 9810 §4.4); return whose it is.

        That is the root whose key is certified, and the one that certified it. Raises `RefusedError` unless
        both are generations of one outside root and it is a CA certificate, valid now; `ConflictError`
        where there is one already.
        """
        roots = [
            one
            for record in self._services.authorities.records
            if record.certificate and record.parent is None and record.key_label is None
            for one in (self._services.authorities.with_id(record.id),)
            if one.state in _LINKED
        ]
        issuer, subject = issuer_among(roots, link), _root_of(roots, link)
        if issuer is None or subject is None or issuer.name != subject.name or issuer == subject:
            raise RefusedError("the certificate links no two keys of a root that is kept outside")
        check_imported(link, issuer.certificate, _spki(subject.certificate), self._services.clock.now())
        await self._add_link(subject, issuer, link, actor)
        return subject, issuer

    async def _add_link(
        self, subject: Authority, issuer: Authority, link: x509.Certificate, actor: str
    ) -> None:
        entry = audit.entry(
            self._services.clock.now(),
            actor,
            "authority.import_link",
            authority=subject.handle,
            issuer=issuer.handle,
            sha256=link.fingerprint(SHA256()).hex(),
        )

        def transaction(tx: Transaction) -> None:
            if not rows.add_link(tx, subject.id, issuer.id, link.public_bytes(Encoding.DER)):
                raise ConflictError(f"the link from {subject.handle} to {issuer.handle} is known already")
            audit_chain.append(tx, entry)

        await self._services.storage.write(transaction)
        await self._services.authorities.reload(self._services.storage)

    def _not_dropped(self, name: str) -> AuthorityRecord:
        record = self._services.authorities.record(name)
        if record.state == "dropped":
            raise ConflictError(f"{record.handle} was dropped: it is to have no certificate")
        return record

    def _issuer(self, record: AuthorityRecord, certificate: x509.Certificate) -> x509.Certificate:
        """Return the certificate that an imported one has to be signed by: its own, or one of the root's."""
        if record.parent is None:
            return certificate
        authorities = self._services.authorities
        roots = [known for known in authorities if known.name == record.parent]
        found = issuer_among(roots, certificate) or authorities.get(record.parent)
        return found.certificate


def _root_of(roots: Sequence[Authority], link: x509.Certificate) -> Authority | None:
    """Return the root whose name and key a link certifies."""
    try:
        spki = link.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None
    named = (one for one in roots if one.certificate.subject == link.subject)
    return next((one for one in named if _spki(one.certificate) == spki), None)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_imported(
    certificate: x509.Certificate, parent: x509.Certificate, spki: bytes | None, now: datetime
) -> None:
    """Raise `RefusedError` unless an outside certificate fits its authority (RFC 5280 §4.2.1.9, §4.2.1.3)."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError("the certificate's public key is of a kind that is unknown here") from error
    if spki is not None and key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki:
        raise RefusedError("the certificate is for another key than this authority's")
    try:
        certificate.verify_directly_issued_by(parent)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise RefusedError("the certificate is not signed by the authority above it") from error
    except x509.ExtensionNotFound as error:
        raise RefusedError(f"the certificate lacks an extension that a CA needs: {error}") from error
    if not (constraints.ca and usage.key_cert_sign and usage.crl_sign):
        raise RefusedError("the certificate is not a CA's: it needs cA, keyCertSign and cRLSign")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise RefusedError("the certificate is not valid now")
