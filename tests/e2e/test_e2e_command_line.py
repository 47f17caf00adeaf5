"""The command line against homes with and without a server: one writer, one clear line for each error."""

import fcntl
import json
import os
import sqlite3
import ssl
import subprocess
from pathlib import Path

import pytest
from client_messages import csr_for, new_key, serial_of
from cryptography import x509
from server_harness import (
    ANY_PORTS,
    PATIENCE_S,
    PROGRAM,
    Server,
    copied,
    done,
    eventually,
    run_installed,
    run_program,
    running,
)

CREATE = (
    "credential",
    "create",
    "--profile",
    "device",
    "--subject",
    "CN=gate-1",
    "--san",
    "dns:g.example.mn",
)
READINGS = (
    ("certificate", "list", "--limit", "1000"),  # a full list says on standard error how to go on
    ("credential", "list"),
    ("ca", "list"),
    ("ca", "show", "infrastructure"),
    ("audit", "verify"),
    ("doctor",),
)


def refused(run: subprocess.CompletedProcess[str]) -> str:
    """Return the one line with which a command refused."""
    assert run.returncode != 0
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_commands_go_through_the_running_server(server: Server) -> None:
    created = json.loads(done(run_installed(server.home, *CREATE, "--json")))
    assert set(created) == {"reference", "secret", "expires_at"}
    (listed,) = server.command("credential.list")
    assert listed["reference"] == created["reference"]
    done(run_installed(server.home, "credential", "cancel", created["reference"]))
    (listed,) = server.command("credential.list")
    assert listed["state"] == "cancelled"
    number = crl_number(server)
    done(run_installed(server.home, "crl", "publish", "--ca", "infrastructure"))
    eventually(lambda: crl_number(server) == number + 1, "the new CRL to be served")


def crl_number(server: Server) -> int:
    return server.crl().extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_there_is_no_second_server(server: Server) -> None:
    line = refused(run_program(server.home, "serve", *ANY_PORTS))
    assert line == "another pkiserver process works on this home; wait for it, or stop it first"
    line = refused(run_program(server.home, "init", "--defaults"))
    assert line == "another pkiserver process works on this home; wait for it, or stop it first"
    assert server.ready()[0] == 200


def test_without_a_server_a_command_takes_the_lock(home: Path) -> None:
    lock = os.open(home / "run" / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert refused(run_program(home, *CREATE)).startswith("another pkiserver process works on this home")
        assert refused(run_program(home, "serve")).startswith("another pkiserver process works on this home")
    finally:
        os.close(lock)
    done(run_installed(home, *CREATE))
    assert len(json.loads(done(run_installed(home, "credential", "list", "--json")))) == 1


def test_what_was_made_without_a_server_serves_with_one(home: Path) -> None:
    created = json.loads(done(run_installed(home, *CREATE, "--json")))
    with running(home, prepared=False) as server:
        (listed,) = server.command("credential.list")
        assert (listed["reference"], listed["state"]) == (created["reference"], "usable")


@pytest.mark.parametrize("reading", READINGS, ids=" ".join)
def test_reading_commands_have_json_and_text(reading: tuple[str, ...], shared: Server) -> None:
    shared.device(new_key())
    shared.credential("device", "CN=gate-1")
    answer = json.loads(done(run_program(shared.home, *reading, "--json")))
    assert answer
    assert done(run_program(shared.home, *reading)).strip()


def test_a_certificate_is_shown_as_the_interface_promises(shared: Server) -> None:
    certificate = shared.device(new_key())
    serial = serial_of(certificate)
    pairs = serial.upper().zfill(len(serial) + len(serial) % 2)
    for written in (serial, ":".join(pairs[i : i + 2] for i in range(0, len(pairs), 2))):
        shown = json.loads(done(run_program(shared.home, "certificate", "show", written, "--json")))
        assert int(shown["serial"], 16) == certificate.serial_number
    assert {key: shown[key] for key in ("ca", "subject", "profile", "status")} == {
        "ca": "infrastructure",
        "subject": "CN=gate-1",
        "profile": "device",
        "status": "active",
    }
    assert x509.load_pem_x509_certificate(shown["pem"].encode()) == certificate
    named = ("certificate", "suspend", serial, "--ca", "infrastructure", "--json")
    assert json.loads(done(run_program(shared.home, *named)))["status"] == "suspended"
    suspended = json.loads(
        done(run_program(shared.home, "certificate", "list", "--status", "suspended", "--json"))
    )
    assert certificate.serial_number in {int(found["serial"], 16) for found in suspended}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("certificate", "show", "zz"), "'zz' is no serial number in hexadecimal"),
        (("certificate", "revoke", "1234"), "no certificate with serial 1234"),
        (("certificate", "revoke", "f" * 33), "it is out of range"),
        (("certificate", "suspend", "1234", "--ca", "nowhere"), "nowhere"),
        (("ca", "export", "nowhere"), "nowhere"),
        (("ca", "show", "no\nwhere\x1b[31m"), "no\\x0awhere\\x1b[31m"),
        (("credential", "cancel", "unknown"), "no credential unknown"),
        (("credential", "create", "--profile", "nonsense", "--subject", "CN=x"), "no profile nonsense"),
        (("credential", "create", "--profile", "root-ca", "--subject", "CN=x"), "no profile root-ca"),
        (("credential", "create", "--profile", "device", "--subject", "nonsense"), "subject"),
        (("credential", "create", "--profile", "device", "--subject", "CN=x", "--san", "dns:*.mn"), "san"),
        (("credential", "create", "--profile", "device", "--subject", "CN=x", "--uses", "0"), "uses"),
        (("crl", "publish", "--ca", "nowhere"), "nowhere"),
    ],
    ids=lambda value: " ".join(map(ascii, value)) if isinstance(value, tuple) else "",
)
def test_errors_are_one_clear_line(arguments: tuple[str, ...], said: str, shared: Server) -> None:
    assert said in refused(run_program(shared.home, *arguments))


@pytest.mark.parametrize(
    "arguments", [("serve",), ("certificate", "list"), ("ca", "export", "root"), CREATE, ("audit", "head")]
)
def test_a_missing_home_is_said_with_what_to_do(arguments: tuple[str, ...], tmp_path: Path) -> None:
    line = refused(run_program(tmp_path / "nowhere", *arguments))
    assert "there is no home" in line
    assert f"`pkiserver --home {tmp_path / 'nowhere'} init --defaults`" in line
    assert not (tmp_path / "nowhere").exists()


def test_a_bad_configuration_is_refused_with_every_error(home: Path) -> None:
    configuration = home / "pkiserver.toml"
    text = configuration.read_text()
    text = text.replace('min_free = "64MiB"', 'min_free = "64 parsecs"')
    text = text.replace('min_version = "1.2"', 'min_version = "1.0"').replace("[log]", "[log]\ncolour = true")
    configuration.write_text(text)
    for command in (("serve", *ANY_PORTS), ("certificate", "list"), ("doctor",)):
        run = run_program(home, *command)
        assert run.returncode == 1
        output = run.stdout + run.stderr
        assert "Traceback" not in output
        for wrong in ("storage.min_free", "tls.min_version", "log.colour"):
            assert wrong in output, command


def test_an_address_in_use_is_said(shared: Server, tmp_path: Path, pristine: Path) -> None:
    other = copied(pristine, tmp_path / "other")
    taken = f"127.0.0.1:{shared.port('https')}"
    run = run_program(other, "serve", "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--https", taken)
    assert run.returncode == 1
    line = run.stderr.splitlines()[-1]
    said = f"Error: cannot listen on 127.0.0.1 port {shared.port('https')}: Address already in use: "
    assert line.startswith(said)
    assert "--https" in line
    assert "Traceback" not in run.stderr


def test_authorities_are_exported(shared: Server) -> None:
    pem = done(run_program(shared.home, "ca", "export", "government"))
    assert x509.load_pem_x509_certificate(pem.encode()) == shared.ca("government")
    chain = x509.load_pem_x509_certificates(
        done(run_program(shared.home, "ca", "export", "citizen", "--chain")).encode()
    )
    assert chain == [shared.ca("citizen"), shared.ca("root")]


def test_authorities_are_exported_in_der(shared: Server, tmp_path: Path) -> None:
    command = [PROGRAM, "--home", str(shared.home), "ca", "export", "root", "--der"]
    run = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
    assert run.stdout == ssl.PEM_cert_to_DER_cert(shared.root_pem.read_text())
    both = run_program(shared.home, "ca", "export", "root", "--der", "--chain")
    assert both.returncode == 2
    assert "Traceback" not in both.stderr


def test_the_audit_head_proves_that_nothing_was_cut(shared: Server, tmp_path: Path) -> None:
    head = tmp_path / "head.json"
    head.write_text(done(run_program(shared.home, "audit", "head")))
    shared.device(new_key())
    done(run_program(shared.home, "audit", "verify", "--head", str(head)))
    later = json.loads(head.read_text()) | {"sequence": 10**6}
    head.write_text(json.dumps(later))
    run = run_program(shared.home, "audit", "verify", "--head", str(head))
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1


def test_an_altered_audit_record_is_found(home: Path) -> None:
    done(run_program(home, "audit", "verify"))
    database = sqlite3.connect(home / "pkiserver.db")
    with database:
        database.execute("DELETE FROM audit WHERE sequence = 3")
    database.close()
    run = run_program(home, "audit", "verify")
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1
    assert "Traceback" not in run.stderr


def test_doctor_finds_nothing_wrong_with_a_good_home(home: Path, server: Server) -> None:
    findings = json.loads(done(run_program(home, "doctor", "--json")))
    assert [finding for finding in findings if not finding["ok"]] == []


def test_a_cancelled_credential_enrols_nothing(shared: Server) -> None:
    credential = shared.credential("device", "CN=gate-1")
    done(run_program(shared.home, "credential", "cancel", credential.reference))
    reply = shared.enroll(credential, csr_for(new_key()))
    assert (reply.status, reply.body) == (401, b"")
    assert reply.headers["www-authenticate"].startswith("Basic ")
