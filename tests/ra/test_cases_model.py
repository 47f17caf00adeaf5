"""Random acts of the holder, authorities, registrars and the civil registry on one certificate.

Database, holds, the OCSP answer, the full CRL with its delta, the register and its feed, cases and the audit
log agree after each act.
"""

import asyncio
import json
import shutil
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.core import open_core
from pkiserver.errors import PKIServerError
from pkiserver.home import Home
from pkiserver.ra.cases.registry_rules import Message, MessageKind
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.cases.service import Decision
from pkiserver.ra.register.feed import BEGIN
from pkiserver.status.register import Register, reason_name
from protocols.asn1.ocsp import CRLReason
from protocols.x509.certificate import serial_text
from store import audit as audit_chain
from store import cases as case_rows
from store import certificates, crl_entries, status_events
from store.database import Transaction
from tests.ra.conftest import SetClock
from tests.ra.test_cases import Setup, setup_of
from tests.ra.test_registration_services import CITIZEN
from tests.ra.test_registry_feed import REGISTRY
from tests.status.served_crls import Told, configure, entries, number, published, served, told
from tests.status.status_plane import StatusPlane, status_plane

ACTS = st.one_of(
    st.tuples(st.just("self_service"), st.sampled_from([Kind.SUSPEND, Kind.RESTORE] * 6 + [Kind.REVOKE])),
    st.tuples(st.just("authority"), st.sampled_from([Kind.SUSPEND] * 6 + [Kind.REVOKE])),
    st.tuples(st.just("lift"), st.integers(0, 5)),
    st.tuples(st.just("written"), st.sampled_from([Kind.SUSPEND, Kind.RESTORE] * 6 + [Kind.REVOKE])),
    st.tuples(st.just("decide"), st.booleans()),
    st.tuples(st.just("publish"), st.none()),
    st.tuples(
        st.just("registry"),
        st.sampled_from([MessageKind.CARD_LOST, MessageKind.CARD_FOUND] * 6 + list(MessageKind)),
    ),
)


class Model:
    """One certificate, and what has been done to it."""

    def __init__(self, setup: Setup, plane: StatusPlane) -> None:
        self.setup = setup
        self.plane = plane
        self.acts = 0
        self.deltas = 0  # by which a certificate was told of, or taken off
        core = setup.core
        self.name = core.authorities.record_with_id(setup.authority).name
        self.register = Register(core.storage, core.authorities)

    async def act(self, name: str, what: Any) -> None:
        """Do one act; what is refused changes nothing."""
        self.acts += 1
        self.setup.clock.moment += timedelta(minutes=1)
        with suppress(PKIServerError):
            await self._deed(name, what)
        await self.setup.core.storage.read(self.agree)
        await self.plane.presigner.work()
        await self.setup.core.crl_publisher.work()
        await self.show_the_same()

    def _deed(self, name: str, what: Any) -> Awaitable[Any]:
        if name == "self_service":
            return self.setup.self_service(what)
        if name == "authority":
            return self.setup.decided_by_authority(what)
        if name == "lift":
            return self._lift(what)
        if name == "written":
            return self.setup.written(what)
        if name == "publish":
            return self.setup.core.crl_publisher.publish(self.name, "test")
        if name == "decide":
            return self._decide(granted=what)
        message = Message(f"m-{self.acts}", 1, what, CITIZEN["civil_id"], self.setup.clock.moment)
        return self.setup.core.registration.registry_feed.take(REGISTRY, [message])

    async def _lift(self, which: int) -> None:
        decisions = [case for _, case in await self.setup.holds() if case is not None]
        if decisions:
            await self.setup.decided_by_authority(Kind.RESTORE, decisions[which % len(decisions)])

    async def _decide(self, *, granted: bool) -> None:
        for case in await self.setup.cases.urgent(self.setup.registrar):
            await self.setup.cases.decide(
                self.setup.registrar, case.id, Decision(case.version, granted, "seen")
            )

    async def show_the_same(self) -> None:
        """Hold what the world is told against the database: OCSP, CRLs, the register and its feed."""
        setup, serial = self.setup, self.setup.serial
        entry = await setup.told()
        expected = None if entry is None else (entry[0], reason_name(entry[1]) if entry[1] else None)
        assert self._by_ocsp() == expected
        assert self._by_crls().get(serial) == expected
        state = await setup.state()
        (found,) = await self.register.with_serial(serial)
        assert found.state_at(setup.clock.moment) == state
        events = [
            one for one in await setup.core.registration.register.feed.behind(BEGIN, 1000)
            if one.serial == serial_text(serial)
        ]  # fmt: skip
        names = {"active": "restored" if len(events) > 1 else "issued"}
        assert events[-1].event == names.get(state, state)

    def _by_ocsp(self) -> tuple[datetime, str | None] | None:
        (single,) = [
            one
            for one in self.plane.ask(self.setup.serial, self.name).responses
            if one.hash_algorithm.name == "sha1"
        ]
        if single.certificate_status.name == "GOOD":
            return None
        assert single.revocation_time_utc is not None
        reason = single.revocation_reason
        return single.revocation_time_utc, reason.value if reason is not None else None

    def _by_crls(self) -> Told:
        """Return what the full CRL and the delta to it tell; what only the delta tells is counted."""
        core = self.setup.core
        parts = [served(core, self.name)]
        if f"{self.name}.delta" in published(core):
            delta = served(core, f"{self.name}.delta")
            if number(delta) > number(parts[0]):
                parts.append(delta)
                self.deltas += self.setup.serial in entries(delta)
        return told(*parts)

    def agree(self, tx: Transaction) -> None:
        named = (self.setup.authority, self.setup.serial)
        certificate = certificates.get(tx, *named)
        assert certificate is not None
        holds = status_events.open_holds(tx, *named)
        entry = crl_entries.current(tx, *named)
        events = status_events.of_certificate(tx, *named)
        assert (certificate.state == "suspended") == bool(holds)
        assert (certificate.state == "active") == (entry is None)
        if entry is not None:
            held = entry.reason == CRLReason.CERTIFICATE_HOLD.value
            assert held == (certificate.state == "suspended")
            assert entry.revoked_at <= min([one.opened_at for one in holds] + [self.setup.clock.moment])
        assert events[-1].to_state == certificate.state
        assert [one.from_state for one in events[1:]] == [one.to_state for one in events[:-1]]
        self._cases_explain(tx, [one.decision for one in holds if one.decision is not None])

    def _cases_explain(self, tx: Transaction, decisions: list[int]) -> None:
        """Every change is of one granted case, which the audit log has; every hold is of a suspension."""
        named = (self.setup.authority, self.setup.serial)
        cases = {one.id: one for one in case_rows.of_certificate(tx, *named, 1000)}
        changes = tx.all(
            "SELECT decided_case FROM status_events WHERE decided_case IS NOT NULL ORDER BY sequence"
        )
        granted = [one for one in cases.values() if one.state == "granted"]
        assert sorted(case for (case,) in changes) == sorted(one.id for one in granted)
        assert all((cases[one].kind, cases[one].state) == ("suspend", "granted") for one in decisions)
        records = audit_chain.after(tx, 0, 100_000)
        told = [
            json.loads(one.detail).get("case") for one in records if one.action.startswith("certificate.")
        ]
        assert [one for one in told if one is not None] == [case for (case,) in changes]


@pytest.mark.parametrize("examples", [6, pytest.param(100, marks=pytest.mark.long)])
def test_all_that_says_of_a_certificate_agrees(initialised_home: Path, tmp_path: Path, examples: int) -> None:
    seen: set[str] = set()
    deltas: list[int] = []
    with asyncio.Runner() as runner:
        pristine = tmp_path / "pristine"
        numbers = iter(range(1000))

        async def story(acts: list[tuple[str, Any]]) -> None:
            home = Home(shutil.copytree(initialised_home, pristine.with_name(f"home-{next(numbers)}")))
            configure(home, crl_delta_period='"1h"')
            clock = SetClock()
            async with AsyncExitStack() as stack:
                core = await stack.enter_async_context(open_core(home, clock))
                plane = await stack.enter_async_context(status_plane(core))
                await plane.presigner.prepare()
                model = Model(await setup_of(core, clock), plane)
                for name, what in acts:
                    await model.act(name, what)
                    seen.add(await model.setup.state())
                deltas.append(model.deltas)
            shutil.rmtree(home.path)

        @given(st.lists(ACTS, min_size=15, max_size=30))
        @settings(max_examples=examples, deadline=None, derandomize=examples < 10)
        def holds(acts: list[tuple[str, Any]]) -> None:
            runner.run(story(acts))

        holds()
    assert seen == {"active", "suspended", "revoked"}
    assert sum(deltas) > 0
