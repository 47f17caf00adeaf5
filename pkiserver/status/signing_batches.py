"""From the statuses of certificates to entries of the response table: patches templates, has them signed.

Knows who speaks for each authority now, and tells the table of new ones. When what is signed, and where the
entries go, is the business of `presigner`.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from config.status_policy import StatusPolicy
from pkiserver.ca.authorities import Authorities, Authority, Responder, public_key_bits
from pkiserver.signer.algorithms import signature_algorithm_for
from pkiserver.signer.client import Signer
from pkiserver.status.retention import archive_cutoff
from protocols.asn1.der import integer_content
from protocols.asn1.ocsp import CertStatus, CRLReason, Good, RevokedInfo
from protocols.ocsp.request import CERT_ID_HASHES, DEFAULT_HASHES, issuer_parts
from protocols.ocsp.response import ResponseTemplate
from store.records import StatusRecord, to_unix
from store.response_entries import ResponderParts, ResponseEntry, response_key
from store.response_writer import ResponseTableWriter

GOOD: Final = Good()


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
        self.silent: set[int] = set()
        """Authorities that nobody could speak for when asked: answers may be missing from the table."""

    def voice(self, authority: int, now: datetime) -> Voice | None:
        """Return who speaks for an authority now, None while nobody can; tells the table of a new one."""
        responder = self._authorities.responder_at(authority, now)
        if responder is None:
            if self._authorities.with_id(authority).key_label is not None:
                self.silent.add(authority)
            return None
        voice = self._voices.get(authority)
        if voice is None or voice.responder.id != responder.id:
            voice = self._introduced(self._authorities.with_id(authority), responder)
            self._voices[authority] = voice
        return voice

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

    async def entries(
        self, statuses: Sequence[StatusRecord], now: datetime
    ) -> list[tuple[bytes, ResponseEntry]]:
        """Return the signed entries of these statuses, of those authorities that somebody speaks for now."""
        by_authority: dict[int, list[StatusRecord]] = defaultdict(list)
        for status in statuses:
            by_authority[status.authority].append(status)
        entries: list[tuple[bytes, ResponseEntry]] = []
        for authority, batch in by_authority.items():
            voice = self.voice(authority, now)
            if voice is not None:  # an authority whose key is outside has none
                entries += await self._entries(voice, batch, now)
        return entries

    async def _entries(
        self, voice: Voice, batch: Sequence[StatusRecord], now: datetime
    ) -> list[tuple[bytes, ResponseEntry]]:
        responder = voice.responder
        next_update = next_update_of(responder, voice.policy, now)
        this_unix, next_unix = to_unix(now), to_unix(next_update)
        cutoff = archive_cutoff(voice.policy, voice.ca_not_before, now)
        data = [
            voice.template.response_data(
                item.serial,
                cert_status(item),
                now,
                now,
                next_update,
                cutoff if item.not_after_s < this_unix else None,
            )
            for item in batch
        ]
        signatures = await self._signer.sign_many(responder.key_label, data)
        return [
            (
                response_key(responder.authority, integer_content(item.serial)),
                ResponseEntry(responder.id, this_unix, next_unix, response_data, signature),
            )
            for item, response_data, signature in zip(batch, data, signatures, strict=True)
        ]


def next_update_of(responder: Responder, policy: StatusPolicy, now: datetime) -> datetime:
    """Return nextUpdate; a response does not outlive its signer's certificate."""
    return min(now + policy.validity, responder.certificate.not_valid_after_utc)


def cert_status(record: StatusRecord) -> CertStatus:
    """Return the certStatus of RFC 6960 §4.2.1 for what the store says."""
    if record.revoked_at is None or record.reason is None:
        return GOOD
    return RevokedInfo(record.revoked_at, CRLReason(record.reason))
