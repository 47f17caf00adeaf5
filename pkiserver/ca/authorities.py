"""The authorities of this installation as the other parts see them: certificates, keys, responders."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkiserver.ca.root_updates import LINK_PROFILE, RootUpdate, root_updates, spki_sha256
from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.storage import Storage
from protocols.x509.certificate import subject_public_key_bits
from store import authorities as authority_rows
from store import certificates
from store.database import Transaction
from store.records import (
    AuthorityRecord,
    AuthorityState,
    ResponderRecord,
    authority_handle,
)

COMING: Final = frozenset({"prepared", "published"})  # states of a generation that has not issued yet
_HIDDEN: Final = frozenset({"prepared", "dropped"})  # of one that nobody is told of, or no more


@dataclass(frozen=True, slots=True)
class Responder:
    """A delegated OCSP signer (RFC 6960 §4.2.2.2)."""

    id: int
    authority: int
    key_label: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Authority:
    """One generation of a certification authority, with its certificate.

    `key_label` None: its key is kept outside. A key that follows another bears the same name.
    """

    id: int
    name: str
    parent: str | None
    key_label: str | None
    certificate: x509.Certificate
    der: bytes = field(repr=False)  # the same
    generation: int = 1
    state: AuthorityState = "active"
    activate_at: datetime | None = None
    ended: bool = False  # its last CRL is due, and it tells nothing new

    @property
    def handle(self) -> str:
        """What names this generation in files, addresses and lists: NAME for the first, NAME.2 after it."""
        return authority_handle(self.name, self.generation)

    @property
    def exact(self) -> str:
        """A name that means this generation, whichever is at work: NAME.1 for the first."""
        return f"{self.name}.{self.generation}"

    @property
    def key_identifier(self) -> bytes:
        """The subjectKeyIdentifier, which its certificates name as authorityKeyIdentifier."""
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    def answers_at(self, now: datetime) -> bool:
        """Whether it signs CRLs and OCSP signers now: not before others know it, nor when it is over."""
        at_work = self.state in ("published", "active", "retiring") and self.key_label is not None
        return at_work and now <= self.certificate.not_valid_after_utc

    def signing_key(self) -> str:
        """Return the label of its key; `ConflictError` when the key is kept outside."""
        if self.key_label is None:
            raise ConflictError(f"the key of authority {self.handle} is kept outside of this installation")
        return self.key_label


@dataclass(slots=True)
class Authorities:
    """Every authority, each with its generations; `reload` after a change of the store.

    A name means the generation at work: the active one, or the last that was. `NAME.2` means the second.
    """

    _records: Sequence[AuthorityRecord] = ()
    _by_id: dict[int, Authority] = field(default_factory=dict)
    _above: dict[int, Authority] = field(default_factory=dict)
    _responders: Sequence[Responder] = ()
    _updates: Sequence[RootUpdate] = ()

    async def reload(self, storage: Storage) -> None:
        """Read the authorities, their responders and the links between roots anew."""
        records, responders, links = await storage.read(_read)
        self._records = records
        self._by_id = {r.id: _authority(r, r.certificate) for r in records if r.certificate}
        self._above = _issuers(self._by_id)
        self._responders = [_responder(record) for record in responders]
        roots = [one.certificate for one in self._by_id.values() if not one.parent and one.state != "dropped"]
        self._updates = tuple(root_updates(roots, map(x509.load_der_x509_certificate, links)))

    def __iter__(self) -> Iterator[Authority]:
        """Yield every generation that others may know of."""
        return iter([known for known in self._by_id.values() if known.state not in _HIDDEN])

    @property
    def dropped(self) -> Sequence[Authority]:
        """The generations that have a certificate and were dropped before they issued."""
        return [known for known in self._by_id.values() if known.state == "dropped"]

    def generations(self, name: str) -> Sequence[AuthorityRecord]:
        """Return the rows of an authority's generations, the first one first; `NotFoundError`."""
        found = [record for record in self._records if record.name == name]
        if not found:
            names = ", ".join(dict.fromkeys(record.name for record in self._records))
            raise NotFoundError(f"no authority {name}: there are {names}")
        return found

    def shown_name(self, one: Authority | AuthorityRecord) -> str:
        """Return the name that people are shown, and that means this generation: NAME, of several NAME.1."""
        return one.name if len(self.generations(one.name)) == 1 else f"{one.name}.{one.generation}"

    def record(self, name: str) -> AuthorityRecord:
        """Return the row of an authority, which may still wait for its certificate; `NotFoundError`."""
        stem, _, number = name.rpartition(".")
        if stem and number.isdecimal():
            return self._generation(stem, int(number))
        found = self.generations(name)
        at_work = [record for record in found if record.state == "active"]
        former = [record for record in found if record.state not in COMING and record.state != "dropped"]
        return [*found, *former, *at_work][-1]

    def ids(self, name: str) -> Sequence[int]:
        """Return the numbers of all generations of an authority, or of the one that is named."""
        if "." in name:
            return [self.record(name).id]
        return [record.id for record in self.generations(name)]

    def _generation(self, name: str, number: int) -> AuthorityRecord:
        for record in self.generations(name):
            if record.generation == number:
                return record
        raise NotFoundError(f"authority {name} has no generation {number}: see `pkiserver ca list`")

    def record_with_id(self, authority: int) -> AuthorityRecord:
        """Return the row of the authority with this number."""
        return next(record for record in self._records if record.id == authority)

    @property
    def pending(self) -> Sequence[AuthorityRecord]:
        """The authorities that have had no certificate yet."""
        return tuple(one for one in self._records if not one.certificate and one.state == "active")

    @property
    def records(self) -> Sequence[AuthorityRecord]:
        """Every generation, also those that wait for their certificate."""
        return self._records

    def has(self, name: str) -> bool:
        """Return whether there is an authority of this name that has its certificate."""
        return any(known.name == name for known in self._by_id.values())

    def get(self, name: str) -> Authority:
        """Return the authority of this name; `NotFoundError`, `ConflictError` while it has no certificate."""
        record = self.record(name)
        if record.certificate is None:
            request = f"have the request of `pkiserver ca csr {name}` signed, and "
            raise ConflictError(
                f"authority {name} has no certificate yet: {request if record.key_label else ''}"
                f"import it with `pkiserver ca import {name} FILE`"
            )
        return self._by_id[record.id]

    def with_id(self, authority: int) -> Authority:
        """Return the authority with this number."""
        return self._by_id[authority]

    def certified(self, authority: int) -> Authority | None:
        """Return the authority with this number, None while it has no certificate: one is just being made."""
        return self._by_id.get(authority)

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

    def is_to_have_responder(self, authority: int, now: datetime) -> bool:
        """Return whether the authority with this number is there to answer for what it issued."""
        known = self._by_id.get(authority)
        return known is not None and known.answers_at(now)

    def above(self, authority: Authority) -> Authority | None:
        """Return the generation that issued the certificate of an authority; None above a root."""
        return self._above.get(authority.id)

    def chain(self, name: str) -> list[Authority]:
        """Return the authority and those above it, the root last."""
        return self.chain_of(self.get(name))

    def chain_of(self, authority: Authority) -> list[Authority]:
        """Return a generation and those that its certificate rests on, the root last."""
        chain = [authority]
        while (above := self.above(chain[-1])) is not None:
            chain.append(above)
        return chain

    @property
    def root_updates(self) -> Sequence[RootUpdate]:
        """The changes of the root's key, the first one first (RFC 9810 §4.4)."""
        return self._updates

    def issuer_of(self, certificate: x509.Certificate) -> Authority | None:
        """Return the authority whose name and key issued a certificate, or None when none of ours did."""
        return issuer_among(self._by_id.values(), certificate)


def issuer_among(authorities: Iterable[Authority], certificate: x509.Certificate) -> Authority | None:
    """Return the one of these whose name and key issued a certificate, or None."""
    for authority in authorities:
        if authority.certificate.subject == certificate.issuer:
            try:
                certificate.verify_directly_issued_by(authority.certificate)
            except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
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
        certificate,
        record.generation,
        record.state,
        record.activate_at,
        record.ended_at is not None,
    )


def _issuers(known: Mapping[int, Authority]) -> dict[int, Authority]:
    """Return by number the generation above each authority that is no root."""
    found: dict[int, Authority] = {}
    for authority in known.values():
        parents = [one for one in known.values() if one.name == authority.parent]
        if (above := issuer_among(parents, authority.certificate)) is not None:
            found[authority.id] = above
    return found


def _read(
    tx: Transaction,
) -> tuple[list[AuthorityRecord], list[ResponderRecord], list[bytes]]:
    records = authority_rows.all_authorities(tx)
    roots = [record.certificate for record in records if record.certificate and not record.parent]
    links = [
        found.certificate
        for root in roots
        for found in certificates.with_key(tx, spki_sha256(x509.load_der_x509_certificate(root)))
        if found.profile == LINK_PROFILE and found.state == "active"
    ]
    imported = authority_rows.links_in_force(tx)
    return records, authority_rows.all_responders(tx), [*links, *imported]


def _responder(record: ResponderRecord) -> Responder:
    certificate = x509.load_der_x509_certificate(record.certificate)
    return Responder(record.id, record.authority, record.key_label, certificate)
