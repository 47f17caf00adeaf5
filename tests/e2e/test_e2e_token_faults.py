"""The token fails while devices enrol and relying parties ask OCSP: what they see, and how long it lasts.

Every signature that leaves is verified here by the client, every certificate that was given out must be in
the store, and who is turned away is told to come again. The times to recover are printed (`pytest -s`).
"""

import http.client
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from client_messages import Credential, csr_for, new_key
from consistency import assert_consistent
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from server_harness import Server, children, done, eventually, run_program, running

from tests import faulty_token

PIN = "correct-PIN-1"
TOKEN = "national"
WORKERS = 2
CLIENTS = 3
DEADLINE_S = 2
UNDER_FAULT_S = 1.5
ACKNOWLEDGED_S = 2  # what was signed before the fault is given out a second later where OCSP cannot show it


@dataclass
class Home:
    """A home on a token that fails when told to."""

    path: Path
    module: faulty_token.FaultyModule


@pytest.fixture(scope="module")
def pristine_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose keys were made on the token; the tests share it, one server after the other."""
    if reason := faulty_token.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("faulty")
    configuration = faulty_token.softhsm_configuration(folder)
    faulty_token.init_token(configuration, TOKEN, PIN)
    module = faulty_token.FaultyModule.build(folder)
    home = folder / "home"
    home.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        text = done(run_program(home, "init", "--show-config"))
        for former, new in (
            ('store = "software"', 'store = "pkcs11"'),
            ('uri = ""', f'uri = "pkcs11:token={TOKEN}?module-path={module.path}&pin-source=file:pin"'),
            ("workers = 1\n# A signer", f"workers = {WORKERS}\n# A signer"),
            ('deadline = "10s"', f'deadline = "{DEADLINE_S}s"'),
        ):
            assert text.count(f"\n{former}") == 1, former
            text = text.replace(f"\n{former}", f"\n{new}")
        (home / "pkiserver.toml").write_text(text)
        (home / "pin").touch(mode=0o600)
        (home / "pin").write_text(f"{PIN}\n")
        done(run_program(home, "init", "--defaults"))
        yield Home(home, module)


@pytest.fixture
def server(pristine_token: Home) -> Iterator[Server]:
    pristine_token.module.mend()
    with running(pristine_token.path) as started:
        eventually(lambda: serving(started) == WORKERS, "all workers to serve")
        yield started
        pristine_token.module.mend()


def serving(server: Server) -> float:
    return server.metric(f'pkiserver_signer_workers{{token="{TOKEN}"}}')


def circuit(server: Server) -> str:
    return str(server.command("signer.show")["circuit"])


def signers(server: Server) -> list[int]:
    found = children(server.process.pid)
    return [pid for pid, command in found.items() if "pkiserver.signer.worker" in command]


@dataclass
class Load:
    """Devices that enrol and relying parties that ask, until they are told to stop."""

    server: Server
    issued: list[x509.Certificate] = field(default_factory=list)
    enrolled_at: list[float] = field(default_factory=list)
    turned_away: int = 0
    problems: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def enrol(self, credential: Credential, context: ssl.SSLContext) -> None:
        issuer = self.server.ca("infrastructure").public_key()
        assert isinstance(issuer, ec.EllipticCurvePublicKey)
        while not self.stopped.is_set():
            key = new_key()
            try:
                reply = self.server.enroll(credential, csr_for(key), context=context)
            except (OSError, http.client.HTTPException) as error:
                self.problems.append(f"the server broke off: {error!r}")
                return
            if reply.status == 200:
                certificate = reply.certificate()
                certificate.verify_directly_issued_by(self.server.ca("infrastructure"))
                self.enrolled_at.append(time.monotonic())
                self.issued.append(certificate)
            elif reply.status == 503 and reply.headers.get("retry-after", "").isdigit():
                self.turned_away += 1
            else:
                self.problems.append(f"{reply.status} {reply.body!r}")

    def ask_ocsp(self, certificate: x509.Certificate) -> None:
        while not self.stopped.is_set():
            status = self.server.status_of(certificate)  # verifies the signature of the response
            if status != "good":
                self.problems.append(f"OCSP says {status}")
            time.sleep(0.02)


def under_load(server: Server, fault: Callable[[Load], None]) -> Load:
    """Let a fault happen, and mend it, while clients are at work; return what they saw."""
    known = server.device(new_key())
    server.shows(known, "good")
    credential = server.credential("device", "CN=gate-1", "dns:gate-1.example.mn", uses=10_000)
    load, context = Load(server), server.tls()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        tasks = [pool.submit(load.enrol, credential, context) for _ in range(CLIENTS)]
        tasks.append(pool.submit(load.ask_ocsp, known))
        try:
            eventually(lambda: len(load.issued) >= CLIENTS, "enrolments under way")
            fault(load)
            count = len(load.issued)
            eventually(lambda: len(load.issued) > count + CLIENTS, "enrolments to go on")
        finally:
            load.stopped.set()
        for task in tasks:
            task.result()
    assert load.problems == []
    return load


def nothing_is_lost(server: Server, load: Load) -> None:
    """Every certificate that a client holds is in the store, and OCSP, CRL, audit and store agree."""
    recorded = {int(found["serial"], 16) for found in server.certificates()}
    assert {certificate.serial_number for certificate in load.issued} <= recorded
    assert_consistent(server)
    eventually(lambda: serving(server) == WORKERS, "all workers to serve again")
    assert circuit(server) == "closed"
    eventually(lambda: server.ready()[0] == 200, "readiness")


def recovered(name: str, load: Load, mended_at: float) -> None:
    first = next(moment for moment in load.enrolled_at if moment > mended_at)
    print(f"\n{name}: recovered in {first - mended_at:.2f} s, {load.turned_away} turned away")  # noqa: T201


def strikes(module: faulty_token.FaultyModule, fault: str, name: str) -> Callable[[Load], None]:
    """Return what has a fault strike once and waits until it has."""

    def strike(load: Load) -> None:
        module.fail(f"{fault} once")
        eventually(lambda: module.struck, name)

    return strike


PASSING = {
    "the session closed under us": "session_closed",
    "C_Sign fails with CKR_DEVICE_ERROR": "sign_error 48",
    "C_Sign signs with another key": "other_key",
    "the module crashes": "crash",
}


@pytest.mark.parametrize("name", [*PASSING][:1])
def test_a_fault_that_strikes_once(server: Server, pristine_token: Home, name: str) -> None:
    passing(server, pristine_token, name)


@pytest.mark.long
@pytest.mark.parametrize("name", [*PASSING][1:])
def test_another_fault_that_strikes_once(server: Server, pristine_token: Home, name: str) -> None:
    passing(server, pristine_token, name)


def passing(server: Server, home: Home, name: str) -> None:
    """A fault that strikes once is not even noticed: the request is tried again, by another session."""
    load = under_load(server, strikes(home.module, PASSING[name], name))
    assert load.turned_away == 0
    nothing_is_lost(server, load)


LASTING = {
    "the token is pulled out and put back": "removed",
    "C_Sign keeps failing": "sign_error 6",
    "C_Sign keeps signing with another key": "other_key",
    "the module keeps crashing": "crash",
}


@pytest.mark.long
@pytest.mark.parametrize("name", LASTING)
def test_a_fault_that_lasts(server: Server, pristine_token: Home, name: str) -> None:
    """Clients are told to come again, and it goes on by itself when the token is well."""
    module, mended_at = pristine_token.module, 0.0

    def fault(load: Load) -> None:
        nonlocal mended_at
        module.fail(LASTING[name])
        eventually(lambda: load.turned_away > CLIENTS or load.problems, "clients to be turned away")
        assert load.problems == []
        time.sleep(ACKNOWLEDGED_S)
        count = len(load.issued)
        time.sleep(UNDER_FAULT_S)
        assert len(load.issued) == count, "something was issued by a token that fails"
        mended_at = time.monotonic()
        module.mend()

    load = under_load(server, fault)
    recovered(name, load, mended_at)
    nothing_is_lost(server, load)


@pytest.mark.long
def test_a_token_that_hangs(server: Server, pristine_token: Home) -> None:
    """The worker is killed at its deadline and replaced; the other one serves meanwhile."""
    began = 0.0

    def fault(load: Load) -> None:
        nonlocal began
        began = time.monotonic()
        strikes(pristine_token.module, "hang", "a signature that hangs")(load)
        eventually(lambda: server.metric("pkiserver_signer_restarts_total") == 1, "the worker to be replaced")
        eventually(lambda: serving(server) == WORKERS, "both workers to serve")
        print(f"\na token that hangs: both serve after {time.monotonic() - began:.2f} s")  # noqa: T201

    load = under_load(server, fault)
    assert load.turned_away <= 1  # the one whose signature hung
    nothing_is_lost(server, load)


@pytest.mark.long
def test_workers_that_are_killed(server: Server, pristine_token: Home) -> None:
    def fault(_load: Load) -> None:
        began = time.monotonic()
        for pid in signers(server):
            os.kill(pid, signal.SIGKILL)
        restarts = "pkiserver_signer_restarts_total"
        eventually(lambda: server.metric(restarts) == WORKERS, "the workers to be replaced")
        eventually(lambda: serving(server) == WORKERS, "all workers to serve")
        print(f"\nall workers killed at once: all serve after {time.monotonic() - began:.2f} s")  # noqa: T201

    nothing_is_lost(server, under_load(server, fault))


def test_a_pin_that_becomes_wrong(server: Server, pristine_token: Home) -> None:
    """It is tried once, whatever happens; only an operator has it tried again."""
    module = pristine_token.module
    before = module.logins

    def fault(load: Load) -> None:
        module.fail("wrong_pin")
        for pid in signers(server):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: circuit(server) == "open", "the circuit to open")
        away = load.turned_away
        eventually(lambda: load.turned_away > away + 10, "clients to be turned away")
        assert server.metric(f'pkiserver_signer_circuit{{state="open",token="{TOKEN}"}}') == 1
        status, causes = server.ready()
        assert (status, causes["signer"]["state"]) == (503, "failed")
        assert "pkiserver signer reset" in causes["signer"]["detail"]
        module.mend()
        away = load.turned_away
        eventually(lambda: load.turned_away > away + 10, "clients to be turned away still")
        assert module.logins == before + 1
        done(run_program(server.home, "signer", "reset"))

    load = under_load(server, fault)
    nothing_is_lost(server, load)
    assert module.logins == before + 1 + WORKERS
    assert PIN not in server.log()
    assert server.command("signer.show")["faults"]["secret"] == 1


def test_a_second_token_of_the_same_label(pristine_token: Home) -> None:
    """Which of the two is meant is for the operator to say."""
    faulty_token.init_token(Path(os.environ["SOFTHSM2_CONF"]), TOKEN, PIN)
    pristine_token.module.mend()
    run = run_program(pristine_token.path, "ca", "list")
    assert run.returncode == 1
    assert "more than one token is national: give its serial in keys.uri" in run.stderr
