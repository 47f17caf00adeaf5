"""Random acts of plants and offices, with stops of the server amid any step: nothing twice, nothing lost.

Whatever is pulled, enrolled, reported, repeated or withdrawn: an application has one live certificate at
most, and is in the queue, in one open batch, made, or withdrawn. In the end each has exactly one.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pkiserver.ca.issuance import Issuance
from pkiserver.core import open_core
from pkiserver.errors import PKIServerError
from pkiserver.home import Home
from pkiserver.ra.registration.plant_results import failed, issued
from pkiserver.ra.status_changes import StatusChanges
from store.database import Transaction
from tests.ra.conftest import SetClock
from tests.ra.plant_setting import APlant, Setting, csr_of, new_key

T = TypeVar("T")
MAX_APPLICATIONS = 6
STEPS: dict[str, type] = {
    "_reserve": Issuance,
    "_sign": Issuance,
    "_record": Issuance,
    "announce": StatusChanges,
}
INITIALISED: list[Path] = []  # hypothesis makes the machines: fixtures do not reach them


# An act: what is done, to which of the last cards, with which key, by somebody else's plant, at which step.
ACTS = st.tuples(
    st.sampled_from(["enroll"] * 5 + ["report"] * 3 + ["fail"] * 2 + ["pull"] * 3 + ["stop"] * 2)
    | st.sampled_from(["wait", "withdraw", "pass", "repeat"]),
    st.integers(0, 4),
    st.integers(0, 1),
    st.sampled_from([False] * 7 + [True]),
    st.sampled_from(sorted(STEPS)),
)
Act = tuple[str, int, int, bool, str]


class Killed(BaseException):
    """The server stopped here."""


class PlantMachine(RuleBasedStateMachine):
    """Two plants and an office on one store, which is opened anew after each stop."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.home = Home(shutil.copytree(INITIALISED[0], self.folder / "home"))
        self.clock = SetClock()
        self.stack = AsyncExitStack()
        self.keys: dict[tuple[str, int], ec.EllipticCurvePrivateKey] = {}
        self.cards: list[tuple[int, str]] = []
        self.withdrawn: set[int] = set()
        self.done(self._open())
        self.setting = self.done(Setting.of(self.core))
        self.plants = [self.done(self.setting.plant(f"plant-{one}")) for one in (1, 2)]
        self.pulls = 0

    def done(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def tried(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what came of an act; None where it was refused."""
        with suppress(PKIServerError):
            return self.done(work)
        return None

    async def _open(self) -> None:
        self.core = await self.stack.enter_async_context(open_core(self.home, self.clock))
        await self.core.issuance.recover()

    def reopened(self) -> None:
        """Stop the server, and start it as `serve` does."""
        self.done(self.stack.aclose())
        self.done(self._open())
        self.setting.core = self.core
        for plant in self.plants:
            plant.core = self.core

    @initialize(many=st.integers(1, 3))
    def some_wait(self, many: int) -> None:
        for _ in range(many):
            self.done(self.setting.waiting())

    @rule(acts=st.lists(ACTS, min_size=8, max_size=16))
    def much_happens(self, acts: list[Act]) -> None:
        for act in acts:
            self.clock.moment += timedelta(minutes=1)
            self._do(act)
            self.everything_holds()

    def _do(self, act: Act) -> None:
        name, number, key, stranger, step = act
        if name == "wait" and len(self.setting.registry) < MAX_APPLICATIONS:
            self.done(self.setting.waiting())
        elif name == "withdraw":
            self._withdraw(1 + number)
        elif name == "pass":
            self.clock.moment += timedelta(days=1 + 3 * key)
        elif name in ("pull", "repeat"):
            self._pull(self.plants[key], 1 + number % 3, repeats=name == "repeat")
        elif self.cards:
            self._work_on(name, *self._card(stranger, number), key, step)

    def _work_on(self, name: str, plant: APlant, batch: int, reference: str, key: int, step: str) -> None:
        own_key = self._key_of(reference, key)
        enrolled = plant.enroll(reference, csr_of(own_key))
        if name == "enroll":
            certificate = self.tried(enrolled)
            assert certificate is None or certificate.public_key() == own_key.public_key()
        elif name == "stop" and step != "announce":
            self._stopped(enrolled, step, before=bool(key))
        else:
            enrolled.close()
            result = issued(f"04{reference[-8:]}") if name == "report" else failed("damaged", "torn")
            reported = plant.report(batch, reference, result)
            if name == "stop":
                self._stopped(reported, step, before=bool(key))
            else:
                self.tried(reported)

    def _pull(self, plant: APlant, size: int, *, repeats: bool) -> None:
        batch = self.tried(plant.pull(size, f"pull-{self.pulls:04d}" if repeats else self._new_key()))
        if batch is not None:
            cards = self.done(plant.cards(batch.id))
            self.cards += [(batch.id, card.record.reference) for card in cards]
            self.cards = list(dict.fromkeys(self.cards))

    def _withdraw(self, application: int) -> None:
        async def work() -> None:
            version = (await self.setting.application(application)).version
            applications = self.core.registration.applications
            await applications.withdraw(self.setting.registrar, application, version, "changed the mind")
            self.withdrawn.add(application)

        if application <= len(self.setting.registry):
            self.tried(work())

    def _stopped(self, act: Coroutine[Any, Any, Any], step: str, *, before: bool) -> None:
        """Have the server stop before or after a step of an act, if that comes so far."""
        right = getattr(STEPS[step], step)
        setattr(STEPS[step], step, _fatal(right, before=before))
        try:
            self.tried(act)
        except Killed:
            pass
        finally:
            setattr(STEPS[step], step, right)
        self.reopened()

    def _key_of(self, reference: str, key: int) -> ec.EllipticCurvePrivateKey:
        """Return one of two keys that are a card's own."""
        return self.keys.setdefault((reference, key), new_key())

    def _card(self, stranger: bool, card: int) -> tuple[APlant, int, str]:
        """Return one of the last cards, and the plant that has it, or the other one."""
        batch, reference = self.cards[-1 - card % len(self.cards)]
        owners = dict(self.rows("SELECT id, plant FROM plant_batches"))
        plant = next(one for one in self.plants if (one.name == owners[batch]) is not stranger)
        return plant, batch, reference

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        def read(tx: Transaction) -> list[tuple[Any, ...]]:
            return tx.all(sql)

        return self.done(self.core.storage.read(read))

    def everything_holds(self) -> None:
        self.one_live_certificate_an_application()
        self.each_application_is_in_one_place()
        self.results_and_certificates_agree()
        self.events_have_actor_ground_and_order()

    def one_live_certificate_an_application(self) -> None:
        counted = self.rows(
            "SELECT p.application, count(*) FROM certificates c JOIN issuances i USING (authority, serial)"
            " JOIN credentials d ON d.id = i.credential JOIN plant_cards p ON p.reference = d.reference"
            " WHERE c.state != 'revoked' GROUP BY p.application"
        )
        assert all(count == 1 for _, count in counted)
        of_citizens = self.rows(
            "SELECT count(*) FROM certificates WHERE profile LIKE 'citizen-%' AND state != 'revoked'"
        )
        assert of_citizens == [(len(counted),)]

    def each_application_is_in_one_place(self) -> None:
        found = self.rows(
            "SELECT a.id, a.state, (SELECT count(*) FROM plant_cards p WHERE p.application = a.id AND"
            " p.result IS NULL), (SELECT count(*) FROM plant_cards p WHERE p.application = a.id AND"
            " p.result = 'issued') FROM applications a"
        )
        for application, state, on_the_way, made in found:
            if state in ("verified", "failed"):  # the queue
                assert (on_the_way, made) == (0, 0)
            elif state == "withdrawn":
                assert made == 0
                assert application in self.withdrawn
            else:
                assert state in ("issuing", "issued")
                assert (on_the_way, made) in ((1, 0), (0, 1))
                assert not made or state == "issued"

    def results_and_certificates_agree(self) -> None:
        told = self.rows(
            "SELECT p.result, c.state FROM plant_cards p LEFT JOIN certificates c"
            " ON c.authority = p.authority AND c.serial = p.serial WHERE p.result IS NOT NULL"
        )
        assert set(told) <= {("issued", "active"), ("failed", "revoked"), ("failed", None)}
        closed = self.rows(
            "SELECT b.closed_at IS NOT NULL, (SELECT count(*) FROM plant_cards p WHERE p.batch = b.id AND"
            " p.result IS NULL) FROM plant_batches b"
        )
        assert all(bool(is_closed) == (still_open == 0) for is_closed, still_open in closed)

    def events_have_actor_ground_and_order(self) -> None:
        for number in range(1, len(self.setting.registry) + 1):
            self.done(self.setting.events(number))

    def teardown(self) -> None:
        """Finish what is open: in the end each application that was not withdrawn has its certificate."""
        try:
            self._finish()
        finally:
            self.done(self.stack.aclose())
            self.loop.close()
            shutil.rmtree(self.folder)

    def _finish(self) -> None:
        for _ in range(2):  # what failed in the first round is made in the second
            for plant in self.plants:
                self._report_all(plant)
            while (batch := self.tried(self.plants[0].pull(10, self._new_key()))) is not None:
                cards = self.done(self.plants[0].cards(batch.id))
                self.cards += [(batch.id, one.record.reference) for one in cards]
                self._report_all(self.plants[0])
        states = dict(self.rows("SELECT id, state FROM applications"))
        assert {one for one, state in states.items() if state == "withdrawn"} == self.withdrawn
        assert set(states.values()) <= {"issued", "withdrawn"}
        live = self.rows(
            "SELECT count(*) FROM certificates WHERE profile LIKE 'citizen-%' AND state = 'active'"
        )
        assert live == [(len(states) - len(self.withdrawn),)]
        assert self.rows("SELECT 1 FROM plant_batches WHERE closed_at IS NULL") == []

    def _new_key(self) -> str:
        self.pulls += 1
        return f"pull-{self.pulls:04d}"

    def _report_all(self, plant: APlant) -> None:
        self.clock.moment += timedelta(hours=1)  # whoever was refused often is heard again
        for batch, reference in self.cards:
            self.tried(plant.enroll(reference, csr_of(new_key())))
            made = self.tried(plant.report(batch, reference, issued(f"04{reference[-8:]}")))
            if made is None:
                self.tried(plant.report(batch, reference, failed("not_delivered", "it is no use")))


def _fatal(step: Callable[..., Awaitable[Any]], *, before: bool) -> Callable[..., Awaitable[Any]]:
    async def fatal(*arguments: Any, **named: Any) -> Any:
        if not before:
            await step(*arguments, **named)
        raise Killed

    return fatal


def walk(initialised_home: Path, examples: int, steps: int) -> None:
    INITIALISED[:] = [initialised_home]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis has no types for it
        PlantMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nothing_twice_and_nothing_lost(initialised_home: Path) -> None:
    walk(initialised_home, 12, 4)


@pytest.mark.long
def test_nothing_twice_and_nothing_lost_for_long(initialised_home: Path) -> None:
    walk(initialised_home, 100, 8)
