"""Makes one planned CRL (RFC 5280 §5): checked, audited, signed, verified, recorded; not its file."""

import asyncio
from dataclasses import dataclass
from typing import Any

from pkiserver import audit
from pkiserver.ca.authorities import Authority
from pkiserver.ca.lint_crl import CRLFacts, PublishedCRL, check_crl
from pkiserver.clock import Clock
from pkiserver.signer.algorithms import signature_algorithm_for
from pkiserver.signer.client import Signer
from pkiserver.status.crl_builder import Entries, frame_of, sha256_of, sign
from pkiserver.status.crl_scopes import CRLPlan
from pkiserver.storage import Storage
from protocols.crl_frame import CRLFrame, crl_pieces, tbs_pieces
from store import audit as audit_chain
from store import crls
from store.database import Transaction
from store.records import CRLRecord


@dataclass(frozen=True, slots=True)
class ReleasedCRL:
    """A CRL on record, and its octets in pieces."""

    record: CRLRecord
    pieces: list[bytes]


class CRLReleases:
    """Makes CRLs one after another."""

    def __init__(self, storage: Storage, signer: Signer, clock: Clock) -> None:
        self._storage = storage
        self._signer = signer
        self._clock = clock

    async def release(
        self,
        plan: CRLPlan,
        entries: Entries,
        authority: Authority,
        *,
        previous: CRLRecord | None,
        together: CRLRecord | None,
        actor: str,
    ) -> ReleasedCRL:
        """Return a planned CRL, on record; it was in nobody's hands before.

        `previous` is the newest of its scope before this moment, `together` the full CRL made just now that
        this delta shares its number with. Raises `PKIServerError` where it cannot be signed or recorded, and
        `LintError` where it is not what it should be.
        """
        frame = frame_of(plan, authority)
        _check(plan, frame, entries, authority, previous, together)
        told: dict[str, Any] = {
            "authority": authority.id,
            "scope": plan.scope.shard,
            "kind": plan.kind,
            "number": plan.number,
            "base": plan.base.number if plan.base is not None else None,
            "entries": entries.count,
        }
        await self._audit(actor, "crl.sign", told)
        signature = await sign(self._signer, authority, frame, entries)
        pieces = crl_pieces(frame, entries.chunks, signature)
        record = CRLRecord(
            authority=authority.id,
            scope=plan.scope.shard,
            kind=plan.kind,
            number=plan.number,
            base_number=plan.base.number if plan.base is not None else None,
            this_update=plan.this_update,
            next_update=plan.next_update,
            events_to=plan.events_to,
            not_expired_at=plan.not_expired_at,
            entries=entries.count,
            octets=sum(map(len, pieces)),
            sha256=await asyncio.to_thread(sha256_of, pieces),
            head=frame.head,
            tail=frame.tail,
            signature=signature,
        )
        entry = audit.entry(self._clock.now(), actor, "crl.publish", **told, sha256=record.sha256.hex())

        def transaction(tx: Transaction) -> None:
            crls.add(tx, record)
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        return ReleasedCRL(record, pieces)

    async def _audit(self, actor: str, action: str, told: dict[str, Any]) -> None:
        entry = audit.entry(self._clock.now(), actor, action, **told)
        await self._storage.write(lambda tx: audit_chain.append(tx, entry))


def _check(
    plan: CRLPlan,
    frame: CRLFrame,
    entries: Entries,
    authority: Authority,
    previous: CRLRecord | None,
    together: CRLRecord | None,
) -> None:
    """Lint the CRL; the rules look at header and extensions, so of many entries the first chunk is enough."""

    def published(record: CRLRecord | None) -> PublishedCRL | None:
        # A clock that was ahead may have dated it after this moment: that must not stop what comes later.
        return PublishedCRL(record.number, min(record.this_update, plan.this_update)) if record else None

    facts = CRLFacts(
        issuer=authority.certificate,
        signature_algorithm=signature_algorithm_for(authority.certificate.public_key()).der,
        number=plan.number,
        this_update=plan.this_update,
        next_update=plan.next_update,
        previous=published(previous),
        base=published(plan.base),
        together=published(together),
        shard_url=plan.shard_url,
        delta_url=plan.delta_url,
        expired_since=plan.expired_since,
        is_last=plan.is_last,
    )
    check_crl(b"".join(tbs_pieces(frame, entries.chunks[:1])), facts)
