"""A full disk: issuing stops and says so, status keeps answering, and work goes on by itself afterwards."""

import os
import signal
from pathlib import Path

import pytest
from client_messages import csr_for, new_key
from consistency import assert_consistent
from cryptography import x509
from server_harness import Server, copied, eventually, running

SIZE_MIB = 80  # over the 64 MiB that must be free, with what the home takes
CHUNK = bytes(1 << 16)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the server's log goes: not to the disk that is filled."""
    return tmp_path / "log"


def fill(disk: Path, leave_bytes: int = 0) -> Path:
    """Write a file until the disk is full, or only so much is left; return the file."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        chunk = CHUNK
        while chunk:
            status = os.statvfs(disk)
            if status.f_bavail * status.f_frsize <= leave_bytes:
                break
            try:
                file.write(chunk)
            except OSError:
                chunk = chunk[: len(chunk) // 2]
    return ballast


def assert_stopped(server: Server) -> None:
    """Nothing is issued; /ready and metrics name the cause."""
    status, causes = server.ready()
    assert status == 503
    assert causes["storage"]["state"] != "ok"
    assert server.metric('pkiserver_ready{cause="storage"}') == 0


def readiness_log(server: Server) -> list[tuple[str, bool]]:
    """Return what the log says of the storage's readiness, change by change."""
    lines = (line for line in server.log_events() if line["event"] == "readiness")
    return [(line["level"], line["ok"]) for line in lines if line["cause"] == "storage"]


def held_by_crl(server: Server, certificate: x509.Certificate) -> bool:
    return server.crl().get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


@pytest.mark.parametrize("leave_bytes", [32 << 20, 0], ids=["little", "nothing"])
def test_issuing_stops_and_goes_on(leave_bytes: int, pristine: Path, small_disk: Path, log: Path) -> None:
    with running(copied(pristine, small_disk / "home"), log_path=log) as server:
        certificate, doubtful = server.device(new_key()), server.device(new_key())
        server.shows(certificate, "good")
        server.shows(doubtful, "good")
        server.suspend(doubtful)
        server.shows(doubtful, "revoked")
        eventually(lambda: held_by_crl(server, doubtful), "the CRL to hold it")
        credential = server.credential("device", "CN=gate-2", "dns:gate-2.example.mn")

        ballast = fill(small_disk, leave_bytes)
        eventually(lambda: server.ready()[0] == 503, "the full disk to be noticed")
        assert_stopped(server)
        key = new_key()
        for _ in range(35):  # a client that tries again and again has done nothing wrong
            refused = server.enroll(credential, csr_for(key))
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
            assert b"Traceback" not in refused.body
        assert server.status_of(certificate) == "good"
        assert server.status_of(doubtful) == "revoked"
        assert held_by_crl(server, doubtful)

        os.kill(server.child("pkiserver.web.status_worker"), signal.SIGKILL)
        assert server.status_of(certificate) == "good"  # by a worker that began on the full disk
        eventually(lambda: ("error", False) in readiness_log(server), "a line in the log")

        ballast.unlink()
        eventually(lambda: server.ready()[0] == 200, "the free disk to be noticed")
        issued = server.enroll(credential, csr_for(key)).certificate()
        server.shows(issued, "good")
        server.restore(doubtful)
        server.shows(doubtful, "good")
        eventually(lambda: readiness_log(server)[-1] == ("info", True), "a line in the log")
        assert_consistent(server)


def test_enrolments_as_the_disk_fills(pristine: Path, small_disk: Path, log: Path) -> None:
    """Where the disk ends in the middle of an issuance, it is finished or voided when there is room again."""
    home = copied(pristine, small_disk / "home")
    configuration = home / "pkiserver.toml"
    configuration.write_text(configuration.read_text().replace('min_free = "64MiB"', 'min_free = "0KiB"'))
    with running(home, log_path=log) as server:
        credential = server.credential("device", "CN=gate-2", "dns:gate-2.example.mn", uses=1000)
        before = server.device(new_key())
        server.shows(before, "good")
        ballast = fill(small_disk, 1 << 18)  # room for an enrolment or two
        issued = []
        for _ in range(200):
            reply = server.enroll(credential, csr_for(new_key()))
            if reply.status != 200:
                break
            issued.append(reply.certificate())
        assert reply.status == 503
        assert issued
        assert int(reply.headers["retry-after"]) > 0
        assert server.metric("pkiserver_store_commit_failures_total") >= 1
        assert server.status_of(before) == "good"

        ballast.unlink()
        eventually(lambda: server.ready()[0] == 200, "the free disk to be noticed")
        issued.append(server.enroll(credential, csr_for(new_key())).certificate())
        for certificate in issued:
            server.shows(certificate, "good")
        left = max(found["uses_left"] for found in server.command("credential.list"))
        devices = [found for found in server.certificates() if found["profile"] == "device"]
        assert left == 1000 - len(devices) + 1  # `before` had a credential of its own
        assert_consistent(server)
