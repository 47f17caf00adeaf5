"""A clock set back: issuing stops and says so, status keeps answering, and work goes on by itself."""

from pathlib import Path

import pytest
from client_messages import Credential, csr_for, new_key
from consistency import assert_consistent
from server_harness import FAULTY, Server, eventually, running

HOUR_S = 3600


@pytest.fixture
def offset(tmp_path: Path) -> Path:
    """The file that puts the server's clock wrong; none, no error."""
    return tmp_path / "clock-offset"


def set_back(offset: Path) -> None:
    replacement = offset.with_suffix(".new")
    replacement.write_text(str(-HOUR_S))
    replacement.replace(offset)


def assert_stopped(server: Server, credential: Credential) -> None:
    """Nothing is issued; /ready, metrics, the client and the log hear why."""
    # Responses of what is the future now are signed anew within a moment; until then the presigner says so.
    eventually(lambda: server.ready()[1]["presigner"]["state"] == "ok", "the responses of the right time")
    status, causes = server.ready()
    assert status == 503
    assert [name for name, cause in causes.items() if cause["state"] != "ok"] == ["clock"]
    assert "behind the last record" in causes["clock"]["detail"]
    assert server.metric('pkiserver_ready{cause="clock"}') == 0
    for _ in range(35):  # a client that tries again and again has done nothing wrong
        refused = server.enroll(credential, csr_for(new_key()))
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        assert b"clock" in refused.body
    lines = [line for line in server.log_events() if line["event"] == "readiness"]
    told = [(line["ok"], line["level"]) for line in lines if line["cause"] == "clock"]
    assert told == [(False, "error")]
    assert {line["cause"] for line in lines} <= {"clock", "presigner"}


def test_issuing_stops_and_goes_on(home: Path, offset: Path) -> None:
    with running(home, program=FAULTY, environment={"PKISERVER_TEST_CLOCK": str(offset)}) as server:
        certificate, lost = server.device(new_key()), server.device(new_key())
        server.shows(certificate, "good")
        credential = server.credential("device", "CN=gate-2", "dns:gate-2.example.mn")
        set_back(offset)
        eventually(lambda: server.ready()[0] == 503, "the clock to be noticed")
        eventually(lambda: '"cause": "clock"' in server.log(), "a line in the log")
        assert_stopped(server, credential)
        assert server.status_of(certificate) == "good"
        server.revoke(lost, "keyCompromise")  # what protects people does not wait
        server.shows(lost, "revoked")

        offset.unlink()
        eventually(lambda: server.ready()[0] == 200, "the right clock to be noticed")
        issued = server.enroll(credential, csr_for(new_key())).certificate()
        server.shows(issued, "good")
        server.shows(lost, "revoked")
        assert_consistent(server)


def test_a_start_with_the_clock_behind(home: Path, offset: Path) -> None:
    environment = {"PKISERVER_TEST_CLOCK": str(offset)}
    with running(home, program=FAULTY, environment=environment) as server:
        certificate = server.device(new_key())
        credential = server.credential("device", "CN=gate-2", "dns:gate-2.example.mn")
        server.shows(certificate, "good")
    set_back(offset)
    with running(home, program=FAULTY, environment=environment, ready=False) as server:
        eventually(lambda: '"cause": "clock"' in server.log(), "a line in the log")
        assert_stopped(server, credential)
        assert server.status_of(certificate) == "good"
        assert list(server.crl()) == []
        offset.unlink()
        eventually(lambda: server.ready()[0] == 200, "the right clock to be noticed")
        issued = server.enroll(credential, csr_for(new_key())).certificate()
        server.shows(issued, "good")
        assert_consistent(server)
