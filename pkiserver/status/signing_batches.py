"""From the statuses of certificates to entries of the response table: patches templates, has them signed.

Knows who speaks for each authority now, and tells the table of new ones. When what is signed, and where the
entries go, is the business of `presigner`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from config.status_policy import StatusPolicy
from pkiserver.ca.authorities import Authorities, Authority, Responder, public_key_bits
from pkiserver.signer.algorithms import signature_algorithm_for
from pkiserver.signer.client import Signer
from pkiserver.signer.errors import KeyNotFoundError
from pkiserver.status.retention import archive_cutoff, tells_nothing
from protocols.asn1.der import integer_content
from protocols.asn1.ocsp import CertStatus, CRLReason, Good, RevokedInfo
from protocols.ocsp.request import CERT_ID_HASHES, DEFAULT_HASHES, issuer_parts
from protocols.ocsp.response import ResponseTemplate
from store.records import StatusRecord, to_unix
from store.response_entries import ResponderParts, pack_entries, response_key
from store.response_writer import ResponseTableWriter

GOOD: Final = Good()
_log = structlog.get_logger("pkiserver.presigner")


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks for an authority, as the table was told; the template names the same responder."""

    responder: Responder
    template: ResponseTemplate
    policy: StatusPolicy
    ca_not_before: datetime


class SigningBatches:
    """Makes entries, a batch at a time."""

    def __init__(
        self,
        *,
        signer: Signer,
        authorities: Authorities,
        table: ResponseTableWriter,
        policies: Mapping[str, StatusPolicy],
        hashes: Sequence[str] = DEFAULT_HASHES,
    ) -> None:
        self._signer = signer
        self._authorities = authorities
        self._table = table
        self._policies = policies
        self._hashes = tuple(hashes)
        self._voices: dict[int, Voice] = {}
        self._withdrawn: set[int] = set()
        self.silent: set[int] = set()
        """Authorities that nobody could speak for when asked: answers may be missing from the table."""

    def voice(self, authority: int, now: datetime) -> Voice | None:
        """Return who speaks for an authority now, None while nobody can; tells the table of a new one."""
        known = self._authorities.certified(authority)
        if known is None:  # a root's own certificate is recorded before it is the root's
            return None
        if tells_nothing(known.state, self._policies[known.name]):
            self._withdraw(known)
            return None
        responder = self._authorities.responder_at(authority, now)
        if responder is None:
            if self._authorities.is_to_have_responder(authority, now):
                self.silent.add(authority)
            return None
        voice = self._voices.get(authority)
        if voice is None or voice.responder.id != responder.id:
            voice = self._introduced(known, responder)
            self._voices[authority] = voice
        return voice

    def withdraw(self) -> None:
        """Have the table know none of those that are to tell nothing: of them, unauthorized is said."""
        for authority in (*self._authorities, *self._authorities.dropped):
            if tells_nothing(authority.state, self._policies[authority.name]):
                self._withdraw(authority)

    def _withdraw(self, authority: Authority) -> None:
        if authority.id not in self._withdrawn:
            name, bits = authority.certificate.subject.public_bytes(), public_key_bits(authority.certificate)
            for part in issuer_parts(name, bits, tuple(CERT_ID_HASHES)):
                self._table.remove_issuer(part)
            self._withdrawn.add(authority.id)

    def _introduced(self, authority: Authority, responder: Responder) -> Voice:
        name = authority.certificate.subject.public_bytes()
        issuer_bits = public_key_bits(authority.certificate)
        responder_der = responder.certificate.public_bytes(Encoding.DER)
        key_hash = hashlib.sha1(public_key_bits(responder.certificate), usedforsecurity=False).digest()
        algorithm = signature_algorithm_for(responder.certificate.public_key()).der
        self._table.put_responder(ResponderParts(responder.id, algorithm, responder_der))
        parts = issuer_parts(name, issuer_bits, self._hashes)
        for part in parts:
            self._table.put_issuer(part, authority.id)
        for part in set(issuer_parts(name, issuer_bits, tuple(CERT_ID_HASHES))).difference(parts):
            self._table.remove_issuer(part)
        return Voice(
            responder,
            ResponseTemplate(key_hash, name, issuer_bits, self._hashes),
            self._policies[authority.name],
            authority.certificate.not_valid_before_utc,
        )

    async def entries(self, statuses: Sequence[StatusRecord], now: datetime) -> list[tuple[bytes, bytes]]:
        """Return the signed entries of these statuses, packed, of those authorities that somebody speaks for.

        Those of one authority are to stand together: each such run is signed as one. An authority whose
        responder has lost its key is `silent`, and does not hold up the others.
        """
        entries: list[tuple[bytes, bytes]] = []
        for authority, batch in groupby(statuses, itemgetter(0)):
            voice = self.voice(authority, now)
            if voice is None:  # as of an authority whose key is outside
                continue
            try:
                entries += await self._entries(voice, list(batch), now)
            except KeyNotFoundError as error:
                if authority not in self.silent:
                    _log.error("responder-key-missing", reason=str(error))
                self.silent.add(authority)
        return entries

    async def _entries(
        self, voice: Voice, batch: Sequence[StatusRecord], now: datetime
    ) -> list[tuple[bytes, bytes]]:
        responder = voice.responder
        next_update = next_update_of(responder, voice.policy, now)
        this_unix, next_unix = to_unix(now), to_unix(next_update)
        cutoff = archive_cutoff(voice.policy, voice.ca_not_before, now)
        response_data = voice.template.response_data
        data = [
            response_data(one.serial, cert_status(one), now, now, next_update)
            if one.not_after_s >= this_unix
            else response_data(one.serial, cert_status(one), now, now, next_update, cutoff)
            for one in batch
        ]
        self._signer.expect(responder.key_label, responder.certificate.public_key())
        signatures = await self._signer.sign_many(responder.key_label, data)
        prefix = response_key(responder.authority, b"")
        keys = [prefix + integer_content(one.serial) for one in batch]
        packed = pack_entries(responder.id, this_unix, next_unix, data, signatures)
        return list(zip(keys, packed, strict=True))


def next_update_of(responder: Responder, policy: StatusPolicy, now: datetime) -> datetime:
    """Return nextUpdate; a response does not outlive its signer's certificate."""
    return min(now + policy.validity, responder.certificate.not_valid_after_utc)


def cert_status(record: StatusRecord) -> CertStatus:
    """Return the certStatus of RFC 6960 §4.2.1 for what the store says."""
    if record.revoked_at is None or record.reason is None:
        return GOOD
    return RevokedInfo(record.revoked_at, CRLReason(record.reason))
