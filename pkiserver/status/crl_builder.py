"""The octets of a CRL (RFC 5280 §5.1): entries read from the store in parts, signed over their hash.

No entry is decoded, and none is there twice: a CRL is its frame and chunks of entries, in pieces. What was
published before is made again the same way, and checked by its SHA-256.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives import hashes

from pkiserver.ca.authorities import Authority
from pkiserver.errors import ConflictError
from pkiserver.signer.algorithms import signature_algorithm_for, verify, verify_digest
from pkiserver.signer.client import Signer
from pkiserver.status.crl_scopes import CRLPlan
from pkiserver.storage import Storage
from protocols.asn1.ocsp import CRLReason
from protocols.crl import build_tbs_cert_list, revoked_entry
from protocols.crl_frame import CRLFrame, crl_pieces, split_frame, tbs_pieces
from store import crl_entries, crls
from store.crl_entries import EntryChange
from store.crls import FULL
from store.records import CRLRecord

CHUNK: Final = 20_000  # entries a read: 20 ms, after which others get the reader and the interpreter
_EVERY: Final = -1  # of LIMIT in SQL


@dataclass(frozen=True, slots=True)
class Entries:
    """What revokedCertificates holds, joined in chunks."""

    chunks: tuple[bytes, ...]
    count: int


async def read_entries(storage: Storage, plan: CRLPlan, limit: int) -> Entries | None:
    """Return the entries of a planned CRL; None for a delta of more than `limit`."""
    scope = (plan.scope.authority, plan.scope.shard)
    if plan.base is None:
        return await _full(storage, *scope, plan.events_to, plan.not_expired_at)
    delta = await _delta(storage, *scope, plan.base, plan.events_to, limit + 1)
    return delta if delta.count <= limit else None


async def rebuilt(storage: Storage, record: CRLRecord) -> list[bytes]:
    """Return the pieces of a CRL that was published, the newest or an old one.

    `ConflictError` where they are not what was published: the store or the program has changed since.
    """
    scope = (record.authority, record.scope)
    if record.base_number is None:
        entries = await _full(storage, *scope, record.events_to, record.not_expired_at)
    else:
        number = record.base_number
        base = await storage.read(lambda tx: crls.get(tx, *scope, FULL, number))
        if base is None:
            raise ConflictError(f"the base of delta CRL {record.number} is not on record")
        entries = await _delta(storage, *scope, base, record.events_to)
    pieces = crl_pieces(CRLFrame(record.head, record.tail), entries.chunks, record.signature)
    if await asyncio.to_thread(sha256_of, pieces) != record.sha256:
        raise ConflictError(f"CRL {record.number} cannot be made again as it was published")
    return pieces


async def _full(
    storage: Storage, authority: int, shard: int, position: int, not_expired_at: datetime | None
) -> Entries:
    chunks: list[bytes] = []
    count, last = 0, 0
    while True:
        found = await storage.read(
            lambda tx, after=last: crl_entries.chunk(  # type: ignore[misc] # mypy: a default in a lambda
                tx, authority, shard, position, not_expired_at, after, CHUNK
            )
        )
        if found is None:
            return Entries(tuple(chunks), count)
        chunks.append(found.joined)
        count, last = count + found.count, found.last


async def _delta(
    storage: Storage, authority: int, shard: int, base: CRLRecord, position: int, limit: int = _EVERY
) -> Entries:
    changes = await storage.read(
        lambda tx: crl_entries.changes(
            tx, authority, shard, base.events_to, base.not_expired_at, position, limit
        )
    )
    joined = b"".join(map(_delta_entry, changes))
    return Entries((joined,) if joined else (), len(changes))


def _delta_entry(change: EntryChange) -> bytes:
    """Return an entry of a delta; one that is to go bears the date that the base has for it."""
    if change.entry is not None:
        return change.entry
    return revoked_entry(change.serial, change.revoked_at, CRLReason.REMOVE_FROM_CRL.value)


def frame_of(plan: CRLPlan, authority: Authority) -> CRLFrame:
    """Return all of a planned CRL's TBSCertList but the entries."""
    empty = build_tbs_cert_list(
        signature_algorithm=signature_algorithm_for(authority.certificate.public_key()).der,
        issuer_der=authority.certificate.subject.public_bytes(),
        this_update=plan.this_update,
        next_update=plan.next_update,
        entries=b"",
        authority_key_identifier=authority.key_identifier,
        crl_number=plan.number,
        extensions=plan.extensions(),
    )
    return split_frame(empty)


async def sign(signer: Signer, authority: Authority, frame: CRLFrame, entries: Entries) -> bytes:
    """Return the signature over a CRL, verified; raises `SignerError`."""
    label, public_key = authority.signing_key(), authority.certificate.public_key()
    pieces = tbs_pieces(frame, entries.chunks)
    algorithm = signature_algorithm_for(public_key).hash
    if algorithm is None:  # Ed25519 hashes by itself: all of it must be there at once
        tbs = await asyncio.to_thread(b"".join, pieces)
        signature = await signer.sign(label, tbs)
        await asyncio.to_thread(verify, public_key, signature, tbs)
        return signature
    hashed = await asyncio.to_thread(_digest, algorithm, pieces)
    signature = await signer.sign_digest(label, hashed)
    verify_digest(public_key, signature, hashed)
    return signature


def sha256_of(pieces: Sequence[bytes]) -> bytes:
    """Return the SHA-256 of pieces put together."""
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def _digest(algorithm: hashes.HashAlgorithm, pieces: Sequence[bytes]) -> bytes:
    hasher = hashes.Hash(algorithm)
    for piece in pieces:
        hasher.update(piece)
    return hasher.finalize()
