"""What tests of the audit log's heads do with an open home."""

from collections.abc import Iterable
from typing import Any

from config.schema_audit import Audit
from pkiserver import audit
from pkiserver.audit import ChainVerifier
from pkiserver.audit_heads.checking import HeadChecker
from pkiserver.audit_heads.heads import AuditHeads
from pkiserver.audit_heads.signed_head import SignedHead, heads_in
from pkiserver.audit_heads.ways import Way, configured_ways
from pkiserver.core import Core
from pkiserver.progress import silent
from store import audit as chain
from store import audit_heads as rows
from store.audit_heads import AuditHeadRecord


def heads_of(core: Core, ways: dict[str, Way] | None = None, **settings: Any) -> AuditHeads:
    """Return a service with other settings on the same home, as after a restart."""
    configured = Audit.model_validate({"head_file": "heads.pem"} | settings)
    return AuditHeads(
        storage=core.storage,
        clock=core.clock,
        signer=core.audit_signer,
        checker=HeadChecker(core.storage, core.authorities),
        outbox=core.registration.outbox,
        settings=configured,
        ways=configured_ways(configured, core.home.path) if ways is None else ways,
    )


async def add_records(core: Core, count: int) -> None:
    def add(tx: Any) -> None:
        for number in range(count):
            chain.append(tx, audit.entry(core.clock.now(), "tests", f"act-{number}"))

    await core.storage.write(add)


async def kept(core: Core) -> list[AuditHeadRecord]:
    return await core.storage.read(lambda tx: rows.after(tx, 0, 1000))


async def verify(core: Core, given: Iterable[bytes] = ()) -> int:
    """Check what `audit verify --heads` checks."""
    verifier = ChainVerifier()
    verifier.check(await core.storage.read(lambda tx: chain.after(tx, 0, 100_000)))
    verifier.finish()
    count = await core.audit_heads.checker.check_kept(silent)
    for number, cms in enumerate(given, start=1):
        await verify_head(core, cms, number)
    return count


async def verify_head(core: Core, cms: bytes, number: int = 1) -> None:
    await core.audit_heads.checker.check(SignedHead.parse(cms), f"given head {number}")


def outside(core: Core, name: str = "heads.pem") -> list[bytes]:
    found, unreadable = heads_in((core.home.path / name).read_text())
    assert unreadable == 0
    return found


async def tamper(core: Core, *statements: str | tuple[str, tuple[Any, ...]]) -> None:
    """Do what somebody does who can write to the database."""
    triggers = ("audit_heads_stay", "audit_heads_are_kept")

    def write(tx: Any) -> None:
        for trigger in triggers:
            tx.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for one in statements:
            tx.execute(*((one,) if isinstance(one, str) else one))
        tx.memo.clear()

    await core.storage.write(write)
