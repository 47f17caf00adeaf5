"""The authorities of this installation as the other parts see them: certificates, keys, responders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.storage import Storage
from protocols.x509.certificate import subject_public_key_bits
from store import authorities as authority_rows
from store.records import AuthorityRecord, ResponderRecord


@dataclass(frozen=True, slots=True)
class Responder:
    """A delegated OCSP signer (RFC 6960 §4.2.2.2)."""

    id: int
    authority: int
    key_label: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Authority:
    """A certification authority that has its certificate; `key_label` None: its key is kept outside."""

    id: int
    name: str
    parent: str | None
    key_label: str | None
    certificate: x509.Certificate
    ended: bool = False  # it issues nothing more

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_identifier(self) -> bytes:
        """The subjectKeyIdentifier, which its certificates name as authorityKeyIdentifier."""
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    def signing_key(self) -> str:
        """Return the label of its key; `ConflictError` when the key is kept outside."""
        if self.key_label is None:
            raise ConflictError(f"the key of authority {self.name} is kept outside of this installation")
        return self.key_label


@dataclass(slots=True)
class Authorities:
    """Every authority that has a certificate; `reload` after a change of the store."""

    _records: Sequence[AuthorityRecord] = ()
    _by_name: dict[str, Authority] = field(default_factory=dict)
    _responders: Sequence[Responder] = ()

    async def reload(self, storage: Storage) -> None:
        """Read the authorities and their responders anew."""
        self._records = await storage.read(authority_rows.all_authorities)
        responders = await storage.read(authority_rows.all_responders)
        self._by_name = {r.name: _authority(r, r.certificate) for r in self._records if r.certificate}
        self._responders = [_responder(record) for record in responders]

    def __iter__(self) -> Iterator[Authority]:
        return iter(self._by_name.values())

    def record(self, name: str) -> AuthorityRecord:
        """Return the row of an authority, which may still wait for its certificate; `NotFoundError`."""
        for record in self._records:
            if record.name == name:
                return record
        names = ", ".join(record.name for record in self._records)
        raise NotFoundError(f"no authority {name}: there are {names}")

    def record_with_id(self, authority: int) -> AuthorityRecord:
        """Return the row of the authority with this number."""
        return next(record for record in self._records if record.id == authority)

    @property
    def pending(self) -> Sequence[AuthorityRecord]:
        """The authorities that wait for their certificate from outside."""
        return tuple(record for record in self._records if not record.certificate)

    @property
    def records(self) -> Sequence[AuthorityRecord]:
        """Every authority, also those that wait for their certificate."""
        return self._records

    def has(self, name: str) -> bool:
        """Return whether there is an authority of this name that has its certificate."""
        return name in self._by_name

    def get(self, name: str) -> Authority:
        """Return the authority of this name; `NotFoundError`, `ConflictError` while it has no certificate."""
        record = self.record(name)
        if record.certificate is None:
            request = f"have the request of `pkiserver ca csr {name}` signed, and "
            raise ConflictError(
                f"authority {name} has no certificate yet: {request if record.key_label else ''}"
                f"import it with `pkiserver ca import {name} FILE`"
            )
        return self._by_name[name]

    def with_id(self, authority: int) -> Authority:
        """Return the authority with this number."""
        return next(known for known in self._by_name.values() if known.id == authority)

    def responder(self, authority: int) -> Responder | None:
        """Return the newest OCSP signer of an authority, or None."""
        found = [responder for responder in self._responders if responder.authority == authority]
        return found[-1] if found else None

    def responder_at(self, authority: int, now: datetime) -> Responder | None:
        """Return the OCSP signer of an authority to sign with at `now`, or None.

        The newest that is valid. Where all begin later (the clock is behind) the oldest: answers must not
        stop for that. One made while the clock was ahead waits for its time.
        """
        usable = [
            responder
            for responder in self._responders
            if responder.authority == authority and now < responder.certificate.not_valid_after_utc
        ]
        valid = [found for found in usable if found.certificate.not_valid_before_utc <= now]
        return next(iter([*reversed(valid), *usable]), None)

    def chain(self, name: str) -> list[Authority]:
        """Return the authority and those above it, the root last."""
        chain = [self.get(name)]
        while (parent := chain[-1].parent) is not None:
            chain.append(self.get(parent))
        return chain

    def issuer_of(self, certificate: x509.Certificate) -> Authority | None:
        """Return the authority whose name and key issued a certificate, or None when none of ours did."""
        for authority in self._by_name.values():
            if authority.certificate.subject == certificate.issuer:
                try:
                    certificate.verify_directly_issued_by(authority.certificate)
                except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                    continue
                return authority
        return None


def public_key_bits(certificate: x509.Certificate) -> bytes:
    """Return the content of subjectPublicKey: what key hashes of OCSP are over (RFC 6960 §4.1.1, §4.2.1)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return subject_public_key_bits(spki)


def _authority(record: AuthorityRecord, certificate: bytes) -> Authority:
    return Authority(
        record.id,
        record.name,
        record.parent,
        record.key_label,
        x509.load_der_x509_certificate(certificate),
        record.ended_at is not None,
    )


def _responder(record: ResponderRecord) -> Responder:
    certificate = x509.load_der_x509_certificate(record.certificate)
    return Responder(record.id, record.authority, record.key_label, certificate)
