"""The drill: a server is backed up in full work, its machine is lost, and another takes its place."""

import json
import shutil
import sqlite3
import threading
from pathlib import Path

from client_messages import Credential, csr_for, new_key
from cryptography import x509
from server_harness import Server, done, run_program, running

PASSPHRASE = "correct horse battery"


class Enrolments:
    """Clients that enrol one after another on a thread of their own, until told to end."""

    def __init__(self, server: Server, credentials: list[Credential]) -> None:
        self.issued: list[x509.Certificate] = []
        self._server = server
        self._credentials = credentials
        self._end = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Enrolments":
        self._thread.start()
        assert self._begun.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        for credential in self._credentials:
            if self._end.is_set():
                return
            self.issued.append(self._server.enroll(credential, csr_for(new_key())).certificate())
            self._begun.set()


def test_the_drill(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE)
    secret.chmod(0o600)
    option = ("--passphrase-file", str(secret))
    with running(home) as server:
        good, held, revoked = (server.device(new_key(), f"gate-{number}") for number in range(3))
        server.suspend(held)
        server.revoke(revoked, "keyCompromise")
        server.shows(revoked, "revoked")
        credentials = [
            server.credential("device", f"CN=busy-{number}", f"dns:busy-{number}.example.mn")
            for number in range(200)
        ]
        with Enrolments(server, credentials) as enrolments:
            made = json.loads(done(run_program(home, "backup", str(tmp_path / "b"), *option, "--json")))
            during = list(enrolments.issued)
        after = [*enrolments.issued[len(during) :], server.device(new_key(), "lost")]
        chain, crl_number = server.chain_pem.read_bytes(), _number(server.crl())
    assert during
    shutil.rmtree(home)

    head = json.dumps({"sequence": made["audit_record"], "hash": made["audit_hash"]})
    (tmp_path / "head.json").write_text(head)
    done(run_program(home, "restore", str(tmp_path / "b"), *option))
    done(run_program(home, "audit", "verify", "--head", str(tmp_path / "head.json")))
    with running(home) as server:
        assert server.chain_pem.read_bytes() == chain
        for certificate, status in ((good, "good"), (held, "revoked"), (revoked, "revoked")):
            server.shows(certificate, status)
        on_crl = {entry.serial_number for entry in server.crl()}
        assert on_crl == {held.serial_number, revoked.serial_number}
        assert _number(server.crl()) > crl_number  # though the backup knows nothing of that one
        known = {int(row["serial"], 16) for row in server.certificates()}
        assert {one.serial_number for one in (good, held, revoked)} <= known
        assert after[-1].serial_number not in known  # the risk that the operators' guide tells of
        assert server.status_of(after[-1]) == "unauthorized"
        server.restore(held)
        server.shows(held, "good")
        server.shows(server.device(new_key(), "new"), "good")
    audit = json.loads(done(run_program(home, "audit", "list", "--json", "--limit", "1000")))
    assert [row["action"] for row in audit].count("home.restore") == 1
    assert _events(home) == list(range(1, len(_events(home)) + 1))


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _events(home: Path) -> list[int]:
    with sqlite3.connect(home / "pkiserver.db") as database:
        return [row[0] for row in database.execute("SELECT sequence FROM status_events ORDER BY sequence")]
