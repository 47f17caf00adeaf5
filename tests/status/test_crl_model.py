"""A model test: whatever happens in whatever order, OCSP and every CRL tell one story.

A walk issues, suspends, restores, revokes, lets time pass until certificates expire, publishes and restarts.
After each step the OCSP answer, the full CRL with its delta, the shard's full CRL with its delta, and the
model of what should be agree; in the end every CRL that was ever served is made again, octet for octet, and
`status at` says of each step what was so then.
"""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from served_crls import HOUR, configure, entries, number, published, served, told
from status_plane import StatusPlane, change, status_plane

from pkiserver.core import Core, open_core
from pkiserver.errors import ConflictError
from pkiserver.home import Home
from pkiserver.status.crl_builder import rebuilt
from pkiserver.status.evidence import Evidence
from pkiserver.status.register import reason_name
from store import crls
from store.records import CertificateRecord
from tests.conftest import FakeClock

if TYPE_CHECKING:
    from tests.conftest import Issue

NAME = "infrastructure"
SHARDS = 2
SEED = 5
REASONS = {"keyCompromise": "keyCompromise", "superseded": "superseded", "unspecified": None}
CONFIGURATIONS = [
    {"crl_delta_period": '"1h"', "crl_shards": str(SHARDS), "status_policy": '"etsi"'},
    {"crl_delta_period": '"1h"', "crl_shards": str(SHARDS), "status_policy": '"web-pki"'},
    {"crl_delta_period": '"0s"', "crl_shards": str(SHARDS), "status_policy": '"web-pki"'},
    {"crl_delta_period": '"1h"', "crl_shards": "1", "status_policy": '"etsi"'},
]


@dataclass
class Expected:
    """What should be of one certificate: whose holds are open, and what is told since when."""

    record: CertificateRecord
    holds: set[str] = field(default_factory=set)
    since: datetime | None = None
    reason: str | None = "certificateHold"
    revoked: bool = False

    @property
    def told(self) -> tuple[datetime, str | None] | None:
        return None if self.since is None else (self.since, self.reason)


class Story:
    """One walk through an open core and its status plane."""

    def __init__(self, home: Home, clock: FakeClock, issue: "Issue", seed: int) -> None:
        self.home = home
        self.clock = clock
        self.issue = issue
        self.random = random.Random(seed)
        self.expected: dict[int, Expected] = {}
        self.seen: dict[tuple[str, str, int], bytes] = {}  # every CRL that was served
        self.newest: dict[tuple[str, str], int] = {}
        self.told_at: dict[datetime, dict[int, tuple[datetime, str | None] | None]] = {}
        self.removed = 0  # how often a delta took something away
        self.core: Core
        self.plane: StatusPlane

    async def walk(self, steps: int) -> None:
        weighted: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.issue_one, 2),
            (self.suspend, 6),
            (self.restore, 8),
            (self.revoke, 1),
            (self.pass_time, 2),
            (self.pass_months, 1),
            (self.publish, 4),
        ]
        for _ in range(steps):
            async with AsyncExitStack() as stack:
                self.core = await stack.enter_async_context(open_core(self.home, self.clock))
                self.plane = await stack.enter_async_context(status_plane(self.core))
                await self.plane.presigner.prepare()
                for _ in range(self.random.randint(3, 8)):  # until the next restart
                    (step,) = self.random.choices(*zip(*weighted, strict=True))
                    self.clock.advance(timedelta(seconds=self.random.randint(0, 90)))
                    await step()
                    await self.plane.presigner.work()
                    await self.core.crl_publisher.work()
                    self.check()
        await self.check_history()

    def one(self) -> Expected | None:
        return self.random.choice(list(self.expected.values())) if self.expected else None

    async def issue_one(self) -> None:
        record = await self.issue(self.core, f"host-{len(self.expected)}.example.mn")
        self.expected[record.serial] = Expected(record)

    async def suspend(self) -> None:
        one, owner = self.one(), self.random.choice(["holder", "authority"])
        if one is not None and await self.allowed("suspend", one, owner not in one.holds, by=owner):
            one.holds.add(owner)
            one.since = one.since or self.clock.now()

    async def restore(self) -> None:
        one, owner = self.one(), self.random.choice(["holder", "authority"])
        if one is not None and await self.allowed("restore", one, owner in one.holds, by=owner):
            one.holds.discard(owner)
            one.since = one.since if one.holds else None

    async def revoke(self) -> None:
        one, reason = self.one(), self.random.choice(list(REASONS))
        if one is not None and await self.allowed("revoke", one, True, reason=reason):
            one.holds.clear()
            one.since, one.reason, one.revoked = one.since or self.clock.now(), REASONS[reason], True

    async def allowed(self, action: str, one: Expected, fits: bool, **arguments: str) -> bool:
        fits = fits and not one.revoked and self.clock.now() <= one.record.not_after
        try:
            await change(self.core, action, one.record, **arguments)
        except ConflictError:
            assert not fits
        else:
            assert fits
        return fits

    async def pass_time(self) -> None:
        self.clock.advance(timedelta(minutes=self.random.choice([1, 50, 400, 1000])))

    async def pass_months(self) -> None:
        self.clock.advance(timedelta(days=self.random.choice([40, 80])))
        await self.core.hierarchy.maintain()

    async def publish(self) -> None:
        await self.core.crl_publisher.publish(NAME, "test")

    def check(self) -> None:
        self.note_what_is_served()
        self.told_at[self.clock.now()] = {serial: one.told for serial, one in self.expected.items()}
        everything = {serial: one.told for serial, one in self.expected.items() if one.told is not None}
        self.check_scope(NAME, everything)
        for shard in range(1, SHARDS + 1) if f"{NAME}-1" in published(self.core) else ():
            mine = {s: t for s, t in everything.items() if self.expected[s].record.crl_shard == shard}
            self.check_scope(f"{NAME}-{shard}", mine)
        for serial, one in self.expected.items():
            if not self.may_be_forgotten(serial):
                assert self.by_ocsp(serial) == one.told

    def check_scope(self, stem: str, expected: dict[int, tuple[datetime, str | None]]) -> None:
        parts = [served(self.core, stem)]
        if f"{stem}.delta" in published(self.core):
            delta = served(self.core, f"{stem}.delta")
            base = delta.extensions.get_extension_for_class(x509.DeltaCRLIndicator).value.crl_number
            if number(delta) > number(parts[0]):
                assert base <= number(parts[0])
                parts.append(delta)
                self.removed += "removeFromCRL" in entries(delta).values()
        found = told(*parts)
        assert found.items() <= expected.items()
        assert all(self.may_be_forgotten(serial) for serial in expected.keys() - found.keys())

    def may_be_forgotten(self, serial: int) -> bool:
        expired = self.clock.now() > self.expected[serial].record.not_after
        return expired and self.core.settings.authorities[NAME].status.retention is not None

    def by_ocsp(self, serial: int) -> tuple[datetime, str | None] | None:
        single = next(iter(self.plane.ask(serial).responses))
        if single.certificate_status.name == "GOOD":
            return None
        assert single.revocation_time_utc is not None
        reason = single.revocation_reason
        named = reason.value if reason not in (None, x509.ReasonFlags.unspecified) else None
        return single.revocation_time_utc, named

    def note_what_is_served(self) -> None:
        """Keep each CRL; numbers of a scope only grow, and never stand for two."""
        for stem, record in published(self.core).items():
            crl = (self.home.public / "crl" / f"{stem}.crl").read_bytes()
            assert self.seen.setdefault((stem, record.kind, record.number), crl) == crl
            scope = stem.removesuffix(".delta")
            assert record.number >= self.newest.get((scope, record.kind), 0)
            self.newest[scope, record.kind] = record.number

    async def check_history(self) -> None:
        async with open_core(self.home, self.clock) as core:
            scopes = {stem: (record.authority, record.scope) for stem, record in published(core).items()}
            for (stem, kind, count), crl in self.seen.items():
                authority, scope = scopes[stem]
                record = await core.storage.read(
                    lambda tx, a=authority, s=scope, k=kind, n=count: crls.get(tx, a, s, k, n)  # type: ignore[misc]
                )
                assert record is not None
                assert b"".join(await rebuilt(core.storage, record)) == crl
            await self.check_status_at(core)
        assert len(self.seen) > 4

    async def check_status_at(self, core: Core) -> None:
        """Whatever was so at any step, `status at` still says it, long after CRLs forgot."""
        evidence = Evidence(core.storage, core.authorities, core.served_responses)
        for moment, expected in self.told_at.items():
            for serial, one in self.expected.items():
                then = (await evidence.history(one.record, moment)).then
                assert (then.event is None) == (serial not in expected)
                reason = reason_name(then.reason) if then.reason else None
                told = (then.revoked_at, reason) if then.revoked_at is not None else None
                assert told == expected.get(serial)


async def walk(
    initialised_home: Path, issue: "Issue", options: dict[str, str], seed: int, steps: int
) -> Story:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(shutil.copytree(initialised_home, Path(folder) / "home"))
        configure(home, **options)
        clock = FakeClock(datetime.now(UTC).replace(microsecond=0) + HOUR)
        story = Story(home, clock, issue, seed)
        await story.walk(steps)
        return story


@pytest.mark.parametrize("options", CONFIGURATIONS[:2], ids=lambda options: "-".join(options.values()))
def test_one_story(initialised_home: Path, issue: "Issue", options: dict[str, str]) -> None:
    story = asyncio.run(walk(initialised_home, issue, options, seed=SEED, steps=12))
    # The walk came by what is hardest, where there are deltas.
    assert bool(story.removed) == (options["crl_delta_period"] != '"0s"')
    assert any(one.revoked for one in story.expected.values())


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("options", CONFIGURATIONS, ids=lambda options: "-".join(options.values()))
def test_long_stories(initialised_home: Path, issue: "Issue", options: dict[str, str], seed: int) -> None:
    asyncio.run(walk(initialised_home, issue, options, seed, steps=40))
