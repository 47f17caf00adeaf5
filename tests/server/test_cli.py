"""The command line on a home without a server: words, exit codes, JSON, one clear line for what is wrong."""

import json
import logging
import os
import re
import shlex
import sqlite3
import stat
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
import structlog
from click.testing import CliRunner, Result
from cryptography import x509

from pkiserver.cli import main
from pkiserver.home import Home, HomeLock


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group below a group, with the words that lead to it."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


COMMANDS = dict(commands(main))
READING = [
    ("credential", "list"),
    ("enrollment", "list"),
    ("actor", "list"),
    ("actor", "show", "administrator"),
    ("actor", "proposals", "--state", "all"),
    ("office", "list"),
    ("organization", "list"),
    ("application", "list"),
    ("certificate", "list"),
    ("certificate", "show", "SERIAL"),
    ("ca", "list"),
    ("ca", "show", "citizen"),
    ("ca", "export", "citizen"),
    ("ca", "csr", "citizen"),
    ("audit", "list"),
    ("audit", "verify"),
    ("audit", "head"),
    ("doctor",),
]
CREATE = ("credential", "create", "--profile", "tls-server", "--subject", "CN=www.example.mn")


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Commands configure the logs of their process, which is here that of the tests; one sets the umask."""
    umask = os.umask(0o022)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    os.umask(umask)


def run(home: Home | None, *words: str, **environment: str) -> Result:
    arguments = ["--home", str(home.path), *words] if home is not None else list(words)
    result = CliRunner().invoke(main, arguments, env=environment, catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def as_json(home: Home, *words: str) -> Any:
    result = run(home, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(home: Home | None, *words: str) -> str:
    """Return the one line that a failing command says."""
    result = run(home, *words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def serial(home: Home) -> str:
    """The serial of some certificate of the home."""
    rows = as_json(home, "certificate", "list", "--ca", "infrastructure")
    found: str = next(row["serial"] for row in rows if row["profile"] == "administrator")
    return found


def test_nothing_that_init_makes_is_open_to_others_but_what_is_public(tmp_path: Path) -> None:
    os.umask(0o000)
    home = Home(tmp_path / "home")
    home.path.mkdir(mode=0o755)
    assert run(home, "init", "--defaults").exit_code == 0
    for path in (home.path, *home.path.rglob("*")):
        public = path.is_relative_to(home.public)
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == (
            0 if not public else 0o055 if path.is_dir() else 0o044
        ), path


class TestHelp:
    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_of_every_command(self, words: tuple[str, ...]) -> None:
        command = COMMANDS[words]
        result = run(None, *words, "--help")
        assert result.exit_code == 0
        assert command.help
        assert len(command.get_short_help_str(200)) > 10
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in ("help", "status"):
                assert option.help, f"{words}: {option.name}"

    @pytest.mark.parametrize(
        "words", [(), *(name for name, one in COMMANDS.items() if "pkiserver " in (one.help or ""))]
    )
    def test_examples_name_what_exists(self, words: tuple[str, ...]) -> None:
        text = (COMMANDS[words].help if words else main.help) or ""
        examples = [
            shlex.split(found.group(1))
            for found in re.finditer(
                r"^\W*(?:Examples?:|Begin with:)?\s+pkiserver (.*?)(?:>.*)?$", text.replace("\\\n", " "), re.M
            )
        ]
        assert examples
        for example in examples:
            if example[0] == "--home":
                example = example[2:]
            name = next(
                name
                for name in sorted(COMMANDS, key=len, reverse=True)
                if tuple(example[: len(name)]) == name
            )
            known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
            assert {word for word in example[len(name) :] if word.startswith("--")} <= known

    @pytest.mark.parametrize(
        "words",
        [words for words, command in COMMANDS.items() if not isinstance(command, click.Group)],
    )
    def test_has_an_example(self, words: tuple[str, ...]) -> None:
        assert re.search(r"Examples?:\s+pkiserver", COMMANDS[words].help or "")

    def test_version(self) -> None:
        result = run(None, "--version")
        assert result.exit_code == 0
        assert re.search(r"\d+\.\d+", result.output)


class TestJSON:
    @pytest.mark.parametrize("words", READING, ids=" ".join)
    def test_of_every_reading_command(self, home: Home, serial: str, words: tuple[str, ...]) -> None:
        value = as_json(home, *(serial if word == "SERIAL" else word for word in words))
        assert isinstance(value, list | dict)
        plain = run(home, *(serial if word == "SERIAL" else word for word in words))
        assert plain.exit_code == 0

    def test_keys_of_a_certificate(self, home: Home) -> None:
        rows = as_json(home, "certificate", "list", "--status", "active")
        assert {"ca", "serial", "subject", "profile", "status"} <= set(rows[0])
        assert {row["status"] for row in rows} == {"active"}

    def test_of_what_changes(self, home: Home, serial: str) -> None:
        new = as_json(home, *CREATE)
        assert {"reference", "secret"} <= set(new)
        assert as_json(home, "credential", "cancel", new["reference"])["state"] == "cancelled"
        assert as_json(home, "certificate", "suspend", serial)["status"] == "suspended"
        assert as_json(home, "certificate", "restore", serial)["status"] == "active"
        revoked = as_json(home, "certificate", "revoke", serial, "--reason", "superseded")
        assert revoked["status"] == "revoked"
        assert [row["number"] for row in as_json(home, "crl", "publish", "--ca", "citizen")] == [2]


class TestText:
    def test_a_credential(self, home: Home) -> None:
        result = run(home, *CREATE, "--lifetime", "1h", "--uses", "2")
        assert re.search(r"^reference +\S+$", result.stdout, re.M)
        assert re.search(r"^secret +\S+$", result.stdout, re.M)
        assert result.stderr == ""

    def test_a_table(self, home: Home) -> None:
        lines = run(home, "ca", "list").stdout.splitlines()
        assert lines == [line.rstrip() for line in lines]
        assert lines[0].split()[:2] == ["name", "state"]
        assert [line.split()[0] for line in lines[1:]] == ["root", "citizen", "government", "infrastructure"]

    def test_exports(self, home: Home) -> None:
        pem = run(home, "ca", "export", "citizen").stdout_bytes
        chain = run(home, "ca", "export", "citizen", "--chain").stdout_bytes
        der = run(home, "ca", "export", "citizen", "--der").stdout_bytes
        citizen = x509.load_pem_x509_certificate(pem)
        assert x509.load_der_x509_certificate(der) == citizen
        certificates = x509.load_pem_x509_certificates(chain)
        assert certificates[0] == citizen
        citizen.verify_directly_issued_by(certificates[1])
        assert run(home, "ca", "export", "citizen", "--chain", "--der").exit_code == 2

    def test_a_request(self, home: Home) -> None:
        request = x509.load_pem_x509_csr(run(home, "ca", "csr", "citizen").stdout_bytes)
        assert request.is_signature_valid

    def test_the_configuration(self, tmp_path: Path) -> None:
        result = run(
            Home(tmp_path / "none"), "init", "--show-config", "--public-url", "http://pki.example.mn"
        )
        assert result.exit_code == 0
        assert tomllib.loads(result.stdout)["public_url"] == "http://pki.example.mn"
        assert not (tmp_path / "none").exists()


class TestAudit:
    def test_the_newest_first(self, home: Home) -> None:
        reference = as_json(home, *CREATE)["reference"]
        records = as_json(home, "audit", "list", "--limit", "2")
        assert records[0]["action"] == "credential.create"
        assert records[0]["sequence"] == records[1]["sequence"] + 1
        assert json.loads(records[0]["detail"])["reference"] == reference
        assert "credential.create" in run(home, "audit", "list").stdout

    def test_of_a_damaged_record(self, home: Home) -> None:
        with sqlite3.connect(home.database) as database:
            database.execute("UPDATE audit SET detail = x'ff', actor = CAST(x'ff41' AS TEXT)")
        assert "\\udcff" in as_json(home, "audit", "list")[0]["actor"]
        assert run(home, "audit", "list").exit_code == 0

    def test_against_an_earlier_head(self, home: Home, tmp_path: Path) -> None:
        head = tmp_path / "head.json"
        head.write_text(run(home, "audit", "head").stdout)
        run(home, *CREATE)
        verified = as_json(home, "audit", "verify", "--head", str(head))
        assert verified["records"] > json.loads(head.read_text())["sequence"]

    def test_against_signed_heads(self, home: Home, tmp_path: Path) -> None:
        heads = tmp_path / "heads.pem"
        heads.write_text("".join(run(home, "audit", "head", "--signed").stdout for _ in range(2)))
        verified = as_json(home, "audit", "verify", "--heads", str(heads))
        assert [verified[name] for name in ("heads", "given_heads", "unreadable_heads")] == [2, 2, 0]
        with sqlite3.connect(home.database) as database:
            database.execute("DROP TRIGGER audit_heads_are_kept")
            database.execute("DELETE FROM audit_heads WHERE id = 2")
            database.execute("DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)")
        assert run(home, "audit", "verify").exit_code == 0
        assert "its tail was cut" in refused(home, "audit", "verify", "--heads", str(heads))

    @pytest.mark.parametrize("content", ["", "no head", "-----BEGIN CMS-----\nAAAA\n"])
    def test_no_signed_head(self, home: Home, tmp_path: Path, content: str) -> None:
        (tmp_path / "heads.pem").write_text(content)
        assert "no signed head" in refused(home, "audit", "verify", "--heads", str(tmp_path / "heads.pem"))

    def test_what_is_signed_and_no_head(self, home: Home, tmp_path: Path) -> None:
        (tmp_path / "heads.pem").write_text("-----BEGIN CMS-----\nAAAA\n-----END CMS-----\n")
        message = refused(home, "audit", "verify", "--heads", str(tmp_path / "heads.pem"))
        assert "given head 1: this is no signed head" in message

    def test_an_export_is_whole_or_not_there(self, home: Home, tmp_path: Path) -> None:
        made = tmp_path / "made"
        assert "there are no records" in refused(home, "audit", "export", "--to", "9999", str(made))
        assert not made.exists()
        assert as_json(home, "audit", "export", "--to", "5", str(made))["last"] == 5
        assert len((made / "audit-records.jsonl").read_text().splitlines()) == 5
        assert "is there already" in refused(home, "audit", "export", str(made))

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"{}", b"[" * 100_000])
    def test_no_head(self, home: Home, tmp_path: Path, content: bytes) -> None:
        head = tmp_path / "head.json"
        head.write_bytes(content)
        assert "head file" in refused(home, "audit", "verify", "--head", str(head))


class TestErrors:
    def test_no_home(self, tmp_path: Path) -> None:
        message = refused(Home(tmp_path / "none"), "ca", "list")
        assert f"there is no home at {tmp_path / 'none'}: " in message
        assert f"`pkiserver --home {tmp_path / 'none'} init --defaults`" in message
        message = run(None, "ca", "list", PKISERVER_HOME=str(tmp_path / "none")).stderr
        assert "`pkiserver init --defaults`" in message
        assert "PKISERVER_HOME" in message

    @pytest.mark.parametrize(
        "words",
        [
            ("ca", "show", "nobody"),
            ("ca", "export", "nobody"),
            ("ca", "csr", "nobody"),
            ("certificate", "show", "xyz"),
            ("certificate", "show", "1f"),
            ("certificate", "show", "1f", "--ca", "nobody"),
            ("certificate", "suspend", "1f"),
            ("certificate", "revoke", "0"),
            ("credential", "cancel", "nonesuch"),
            ("credential", "cancel", "\udcff"),
            ("credential", "create", "--profile", "nonesuch", "--subject", "CN=x"),
            ("credential", "create", "--profile", "tls-server", "--subject", "no name"),
            (*CREATE, "--san", "what:ever"),
            (*CREATE, "--uses", "0"),
            (*CREATE, "--lifetime", "0s"),
            (*CREATE, "--lifetime", "99999999d"),
            ("crl", "publish", "--ca", "nobody"),
            ("serve", "--http", "nonsense"),
        ],
        ids=" ".join,
    )
    def test_refused_in_one_line(self, home: Home, words: tuple[str, ...]) -> None:
        refused(home, *words)

    @pytest.mark.parametrize(
        "words",
        [
            ("praise",),
            ("certificate", "praise"),
            ("certificate", "show"),
            ("certificate", "revoke", "1f", "--reason", "boredom"),
            ("certificate", "suspend", "1f", "--by", "police"),
            ("certificate", "list", "--status", "lost"),
            ("certificate", "list", "--limit", "0"),
            ("certificate", "list", "--limit", "-1"),
            ("audit", "list", "--limit", "0"),
            ("credential", "create", "--profile", "tls-server"),
            (*CREATE, "--uses", "many"),
            (*CREATE, "--lifetime", "banana"),
            ("ca", "import", "root", "/nonexistent/file.pem"),
        ],
        ids=" ".join,
    )
    def test_wrong_usage(self, home: Home, words: tuple[str, ...]) -> None:
        result = run(home, *words)
        assert result.exit_code == 2
        assert "Usage:" in result.stderr

    def test_a_missing_folder_is_named(self, home: Home, tmp_path: Path) -> None:
        missing = tmp_path / "missing"
        evidence = (
            "status",
            "at",
            "1f",
            "--time",
            "2026-03-01T12:00:00Z",
            "--evidence",
            str(missing / "case"),
        )
        for words in (evidence, ("responses", "export", str(missing / "file"))):
            assert refused(home, *words) == f"Error: there is no folder {missing}: make it first\n"

    def test_a_folder_without_evidence(self, home: Home, tmp_path: Path) -> None:
        assert f"{tmp_path} holds no evidence" in refused(home, "audit", "check-evidence", str(tmp_path))

    def test_another_process_has_the_home(self, home: Home) -> None:
        with HomeLock(home):
            for words in (("ca", "list"), ("init", "--defaults"), ("serve",)):
                assert "another pkiserver process" in refused(home, *words)
        assert run(home, "ca", "list").exit_code == 0

    def test_a_bad_configuration_says_everything(self, home: Home) -> None:
        text = home.configuration.read_text()
        home.configuration.write_text(text.replace('max_age = "60s"', 'max_age = "banana"\nwhat = 1'))
        for words in (("ca", "list"), ("serve",)):
            result = run(home, *words)
            assert result.exit_code == 1
            assert "ocsp.max_age" in result.stderr
            assert "ocsp.what" in result.stderr

    def test_init_again_keeps_the_url(self, home: Home) -> None:
        assert run(home, "init", "--defaults").exit_code == 0
        assert "public_url" in refused(home, "init", "--public-url", "http://other.example.mn")

    def test_the_wrong_passphrase(self, home: Home) -> None:
        (home.keys / "passphrase").write_text("open sesame\n")
        message = refused(home, "ca", "list")
        assert "sesame" not in message
        assert 'keys.passphrase_file = "keys/passphrase"' in message

    def test_a_database_that_is_none(self, home: Home) -> None:
        home.database.write_bytes(b"garbage" * 1000)
        refused(home, "ca", "list")


class TestHomeOption:
    def test_from_the_environment(self, home: Home) -> None:
        assert run(None, "ca", "list", PKISERVER_HOME=str(home.path)).exit_code == 0

    def test_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert run(Home(tmp_path / "file"), "ca", "list").exit_code == 2


class TestDoctor:
    def test_finds_nothing(self, home: Home) -> None:
        findings = as_json(home, "doctor")
        assert all(finding["ok"] for finding in findings)
        assert {"home", "configuration", "disk", "certificate", "crl", "server"} <= {
            one["check"] for one in findings
        }

    def damaged(self, home: Home) -> list[dict[str, Any]]:
        result = run(home, "doctor", "--json")
        assert result.exit_code == 1
        return [finding for finding in json.loads(result.stdout) if not finding["ok"]]

    def test_no_home(self, tmp_path: Path) -> None:
        (finding,) = self.damaged(Home(tmp_path / "none"))
        assert "init --defaults" in finding["detail"]

    def test_open_keys(self, home: Home) -> None:
        home.keys.chmod(0o755)
        (finding,) = self.damaged(home)
        assert finding["check"] == "permissions"
        assert "chmod 700" in finding["detail"]

    @pytest.mark.parametrize("name", ["public/ca/citizen.cer", "public/crl/citizen.crl", "tls/server.pem"])
    def test_a_damaged_file(self, home: Home, name: str) -> None:
        path = home.path / name
        path.write_bytes(b"damaged")
        (finding,) = self.damaged(home)
        assert path.name in finding["detail"]

    def test_an_authority_that_issues_nothing(self, home: Home, tmp_path: Path) -> None:
        listed = str(tmp_path / "reissue.csv")
        assert run(home, "ca", "compromise", "citizen", "--reissue", listed, "--yes").exit_code == 0
        (finding,) = self.damaged(home)
        assert "citizen is compromised" in finding["detail"]
        assert "ca rollover citizen" in finding["detail"]
        for step in ("--prepare", "--publish", "--activate"):
            assert run(home, "ca", "rollover", "citizen", step).exit_code == 0
        assert all(finding["ok"] for finding in as_json(home, "doctor"))

    def test_a_bad_configuration(self, home: Home) -> None:
        home.configuration.write_text("public_url = 1\n")
        assert [finding["check"] for finding in self.damaged(home)] == ["configuration"]

    @pytest.mark.parametrize(
        "endpoints",
        [b"", b"[]", b"{}", b'{"metrics": 1}', b'{"metrics": [[]]}', b'{"metrics": [["127.0.0.1", 1]]}'],
    )
    def test_a_server_that_does_not_answer(self, home: Home, endpoints: bytes) -> None:
        home.endpoints.write_bytes(endpoints)
        with HomeLock(home):
            (finding,) = self.damaged(home)
        assert finding["check"] == "server"
        findings = as_json(home, "doctor")  # what a killed server left
        assert next(one["detail"] for one in findings if one["check"] == "server") == "not running"

    @pytest.mark.parametrize(
        "answer", [b"<html>", b"[]", b'{"causes": 1}', b'{"causes": ["x"]}', b'{"causes": [{"name": "x"}]}']
    )
    def test_something_else_answers(self, home: Home, answer: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as other, HomeLock(home):
            thread = threading.Thread(target=other.serve_forever)
            thread.start()
            home.endpoints.write_text(json.dumps({"metrics": [other.server_address]}))
            try:
                (finding,) = self.damaged(home)
            finally:
                other.shutdown()
                thread.join()
        assert "look at its log" in finding["detail"]

    def test_the_passphrase(self, home: Home) -> None:
        path = home.keys / "passphrase"
        path.chmod(0o604)
        assert "chmod 600" in self.damaged(home)[0]["detail"]
        path.chmod(0o600)
        path.write_text("\n")
        assert "is empty" in self.damaged(home)[0]["detail"]
        path.unlink()
        (finding,) = self.damaged(home)
        assert "keys.passphrase_file" in finding["detail"]

    def test_the_module(self, home: Home) -> None:
        text = home.configuration.read_text().replace('store = "software"', 'store = "pkcs11"')
        uri = 'uri = "pkcs11:token=ours?pin-source=env:OUR_PIN&module-path={}"'
        home.configuration.write_text(text.replace('uri = ""', uri.format("/nonexistent/module.so")))
        (finding,) = self.damaged(home)
        assert "keys.uri" in finding["detail"]
        home.configuration.write_text(text.replace('uri = ""', uri.format(home.configuration)))
        (finding,) = self.damaged(home)
        assert "does not work" in finding["detail"]

    def test_an_authority_that_was_revoked(self, home: Home) -> None:
        serial = x509.load_pem_x509_certificate(
            run(home, "ca", "export", "citizen").stdout_bytes
        ).serial_number
        as_json(home, "certificate", "revoke", f"{serial:x}")
        (finding,) = self.damaged(home)
        assert finding["detail"].startswith("the certificate of citizen is revoked")

    def test_a_database_that_is_none(self, home: Home) -> None:
        home.database.write_bytes(b"garbage" * 1000)
        (finding,) = self.damaged(home)
        assert finding["check"] == "database"

    def test_an_offline_root_without_its_crl(self, tmp_path: Path) -> None:
        home = Home(tmp_path / "home")
        assert run(home, "init", "--defaults", "--offline-root").exit_code == 0
        with sqlite3.connect(home.database) as database:
            database.execute("UPDATE authorities SET certificate = x'00' WHERE name = 'root'")
        (finding,) = [one for one in self.damaged(home) if one["check"] == "crl"]
        assert "root.crl is missing" in finding["detail"]

    def test_a_home_cut_short(self, home: Home) -> None:
        home.database.unlink()
        assert f"`pkiserver --home {home.path} init`" in self.damaged(home)[0]["detail"]

    def test_everything_wrong_has_advice(self, home: Home) -> None:
        (home.tls / "server.pem").unlink()
        (home.public / "crl" / "root.crl").write_bytes(b"")
        for finding in self.damaged(home):
            assert re.search(r"[:;?] ", finding["detail"]), finding
