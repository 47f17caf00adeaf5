"""Gives a part of the audit log as files that prove themselves, with the signed head that covers it.

Personal data are not in it: records hold their salted hash alone. `export_text` says how it is checked.
"""

from typing import Any, Final

from pkiserver import audit
from pkiserver.audit import ChainError, Head
from pkiserver.audit_heads.export_text import README
from pkiserver.audit_heads.heads import AuditHeads
from pkiserver.audit_heads.signed_head import SignedHead
from pkiserver.audit_proof import LinksWriter
from pkiserver.clock import Clock
from pkiserver.errors import NotFoundError
from pkiserver.progress import GiveFile, Progress
from pkiserver.status.evidence_files import EvidenceFiles
from pkiserver.storage import Storage
from store import audit as audit_chain
from store import audit_heads
from store.audit_heads import AuditHeadRecord
from store.database import Transaction

RECORDS: Final = "audit-records.jsonl"
LINKS: Final = "audit-links.txt"
HEAD: Final = "audit-head.pem"
_PAGE: Final = 2000


class AuditExport:
    """Gives records; that somebody took them is recorded first."""

    def __init__(self, storage: Storage, clock: Clock, heads: AuditHeads) -> None:
        self._storage = storage
        self._clock = clock
        self._heads = heads

    async def give(
        self, first: int, last: int | None, actor: str, give_file: GiveFile, progress: Progress
    ) -> dict[str, Any]:
        """Give the records from `first` to `last`, None for the newest; say what was given.

        `NotFoundError` where there are no such records, `ChainError` where the log does not hold together.
        """
        last = await self._storage.write(lambda tx: self._begin(tx, first, last, actor))
        head = await self._storage.read(lambda tx: audit_heads.covering(tx, last)) or await self._heads.make()
        files = EvidenceFiles(give_file)
        await self._give_records(files, first, last, progress)
        end = await self._give_links(files, first, head, progress)
        await files.give(HEAD, (await self._heads.pem(head)).encode("ascii"))
        await files.give("README.txt", README.encode("ascii"))
        await files.give("SHA256SUMS", files.sums())
        return {"first": first, "last": last, "head_record": end.sequence, "head_hash": end.hash}

    def _begin(self, tx: Transaction, first: int, last: int | None, actor: str) -> int:
        end = Head.of(audit_chain.head(tx)).sequence
        last = end if last is None else last
        if not 1 <= first <= last <= end:
            raise NotFoundError(f"there are no records {first} to {last}: the log has 1 to {end}")
        entry = audit.entry(self._clock.now(), actor, "audit.export", first=first, last=last)
        audit_chain.append(tx, entry)
        return last

    async def _give_records(self, files: EvidenceFiles, first: int, last: int, progress: Progress) -> None:
        await files.begin(RECORDS, b"")
        done = first - 1
        while done < last:
            limit = min(_PAGE, last - done)
            page = await self._storage.read(lambda tx, at=done, most=limit: audit_chain.after(tx, at, most))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
            if not page:
                raise ChainError(f"audit record {done + 1} is missing")
            await files.more(b"".join(audit_chain.record_text(record) + b"\n" for record in page))
            done += len(page)
            progress("audit records", done - first + 1, last - first + 1)
        files.end()

    async def _give_links(
        self, files: EvidenceFiles, first: int, head: AuditHeadRecord, progress: Progress
    ) -> Head:
        before = await self._storage.read(lambda tx: audit_chain.get(tx, first - 1))
        links = LinksWriter(Head.of(before))
        await files.begin(LINKS, links.begin())
        while (done := links.head.sequence) < head.sequence:
            limit = min(_PAGE, head.sequence - done)
            page = await self._storage.read(lambda tx, at=done, most=limit: audit_chain.after(tx, at, most))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
            if not page:
                raise ChainError(f"the audit log ends before record {head.sequence}: its tail was cut")
            await files.more(links.lines(page))
            progress("links", links.head.sequence - first + 1, head.sequence - first + 1)
        signed = SignedHead.parse(head.cms)
        await self._heads.checker.check(signed, f"kept head {head.id}")
        if signed.head != links.head:
            raise ChainError(f"the links do not lead to kept head {head.id}")
        await files.more(links.end())
        files.end()
        return links.head
