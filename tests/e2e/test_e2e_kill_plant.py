"""Kills the server amid a plant's batch; the plant repeats what got no answer.

In the end each card has one certificate, none is without its record, and none of a failed card lives on.
"""

import http.client
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from client_messages import Reply, new_key
from consistency import assert_consistent, database_rows
from plant_client import Station, live, read, verified
from server_harness import FAULTY, Server, copied, doomed, running

# Where the server dies while a card is enrolled, and while a result is reported.
ENROLLING = ("before:_reserve", "after:_reserve", "after:_sign", "before:_record", "after:_record")
REPORTING = ("before:report", "before:announce", "after:announce", "after:report")
QUICK = {"after:_sign", "after:_record", "before:announce", "after:pull"}  # the others take minutes


def each(steps: tuple[str, ...]) -> list[object]:
    return [pytest.param(one, marks=() if one in QUICK else pytest.mark.long) for one in steps]


class Line:
    """A home with three citizens who wait for cards, and the plant that makes them."""

    def __init__(self, home: Path, station: Station, applications: list[int]) -> None:
        self.home = home
        self.station = station
        self.applications = applications

    def finish(self, server: Server) -> None:
        """Make every card that is open, and pull until none waits: each citizen has one certificate."""
        for number in range(9):
            for batch in read(self.station.ask(server, "GET", "/batches?state=open"))["items"]:
                self._make_all(server, batch["batch"])
            if self.station.pull(server, f"pull-last-{number}").status == 409:
                break
        states = database_rows(self.home, "SELECT state, count(*) FROM applications GROUP BY state")
        assert states == [("issued", len(self.applications))]
        told = database_rows(self.home, "SELECT serial FROM applications")
        assert live(server) == {int.from_bytes(blob, "big") for (blob,) in told}
        assert len(told) == len(self.applications)
        assert_consistent(server)

    def _make_all(self, server: Server, batch: int) -> None:
        for card in self.station.cards(server, batch):
            if card["result"] is None:
                if card["state"] == "waiting":
                    self.station.enroll(server, card["card"], new_key()).certificate()
                read(self.station.report(server, batch, card["card"], result="issued", carrier=card["card"]))


@pytest.fixture(scope="module")
def waiting_home(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("plant")
    home = copied(pristine, folder / "home")
    with running(home) as server:
        return Line(home, Station.registered(server, folder), verified(server))


@pytest.fixture
def line(waiting_home: Line, tmp_path: Path) -> Line:
    return Line(copied(waiting_home.home, tmp_path / "home"), waiting_home.station, waiting_home.applications)


def to_death(server: Server, request: Callable[[], Reply]) -> Reply | None:
    """Ask a server that dies of it; return the answer if it came out all the same."""
    try:
        reply = request()
    except (OSError, http.client.HTTPException, ssl.SSLError):
        reply = None
    server.wait_killed()
    return reply


@pytest.mark.parametrize("step", each(("before:pull", "after:pull")))
def test_killed_amid_a_pull(step: str, line: Line) -> None:
    with doomed(line.home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        to_death(server, lambda: line.station.pull(server, "pull-0001"))
    with running(line.home) as server:
        batch = read(line.station.pull(server, "pull-0001"))
        assert batch["cards"] == len(line.applications)
        assert read(line.station.pull(server, "pull-0001")) == batch
        assert len(read(line.station.ask(server, "GET", "/batches"))["items"]) == 1
        line.finish(server)


@pytest.mark.parametrize("step", each(ENROLLING))
def test_killed_amid_a_card(step: str, line: Line) -> None:
    key = new_key()
    with doomed(line.home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        batch = read(line.station.pull(server, "pull-0001"))["batch"]
        card = line.station.cards(server, batch)[0]["card"]
        reply = to_death(server, lambda: line.station.enroll(server, card, key))
    with running(line.home) as server:
        assert_consistent(server)
        certificate = line.station.enroll(server, card, key).certificate()
        assert reply is None or reply.certificate() == certificate
        assert live(server) == {certificate.serial_number}
        assert line.station.enroll(server, card, new_key()).status == 409
        line.finish(server)
        assert certificate.serial_number in live(server)


@pytest.mark.parametrize("step", each(REPORTING))
def test_killed_amid_a_failed_card(step: str, line: Line) -> None:
    torn = {"result": "failed", "failure": "damaged", "reason": "torn"}
    with doomed(line.home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        batch = read(line.station.pull(server, "pull-0001"))["batch"]
        card = line.station.cards(server, batch)[0]["card"]
        spoilt = line.station.enroll(server, card, new_key()).certificate()
        to_death(server, lambda: line.station.report(server, batch, card, **torn))
    with running(line.home) as server:
        assert_consistent(server)
        assert read(line.station.report(server, batch, card, **torn))["certificate_state"] == "revoked"
        server.shows(spoilt, "revoked", "citizen")
        assert live(server) == set()
        line.finish(server)
        assert spoilt.serial_number not in live(server)
