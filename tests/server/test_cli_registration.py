"""Registration on the command line, without a server: a citizen's story and an organisation's."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pkiserver.cli import main
from pkiserver.home import Home, HomeLock
from tests.citizens import UNLIMITED_FORM as FORM

CITIZEN: dict[str, Any] = {
    "register_number": "УБ05231418",
    "civil_id": "123456789012",
    "birth_date": "2005-03-14",
    "parent_name": "Бат",
    "clan_name": None,
    "given_name": "Дорж",
    "entitled": True,
    "fingerprints": ["check-1"],
}


def run(home: Home, *words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--home", str(home.path), *words], input=typed, catch_exceptions=False)


def as_json(home: Home, *words: str, typed: str | None = None) -> Any:
    result = run(home, *words, "--json", typed=typed)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def text(home: Home, *words: str) -> str:
    result = run(home, *words)
    assert result.exit_code == 0, result.output
    return result.stdout


LIST = """Эцэг эхийн нэр;Нэр;Регистрийн дугаар;Иргэний бүртгэлийн дугаар;work_mail;phone;position;unit
Бат;Дорж;УБ05231418;123456789012;dorj@tax.gov.mn;99112233;Мэргэжилтэн;Аудит
Бат;Сараа;УБ05231419;123456789013;saraa@gmail.com;99112234;Мэргэжилтэн;
"""


@pytest.fixture
def form(home: Home, tmp_path: Path) -> str:
    home.civil_registry.write_text(json.dumps(CITIZEN))
    path = tmp_path / "form.json"
    path.write_text(json.dumps(FORM))
    return str(path)


def test_a_citizen(home: Home, form: str) -> None:
    as_json(home, "office", "add", "ub-1", "--name", "Сүхбаатар")
    assert as_json(home, "office", "day", "ub-1", "2026-07-10")["works"] is False
    assert "2026-07-10 closed" in text(home, "office", "show", "ub-1")
    made = as_json(home, "application", "create", form, "--office", "ub-1")
    assert (made["state"], made["version"]) == ("draft", 1)
    stale = ("application", "verify", "1", "--fingerprint", "check-1", "--version", "7")
    assert "changed since" in run(home, *stale).stderr
    assert as_json(home, *stale[:-2])["state"] == "verified"
    assert set(as_json(home, "application", "issue", "1")) == {"reference", "secret", "expires_at"}
    shown = text(home, "application", "show", "1")
    assert "given name       Дорж" in shown
    assert "event begin_issuing" in shown
    assert [one["id"] for one in as_json(home, "person", "find", "--name", "ДОРЖ")] == [1]
    assert as_json(home, "person", "show", "1")["phone"] == "+97699112233"
    assert as_json(home, "person", "history", "1") == []
    withdrawn = as_json(home, "application", "withdraw", "1", "--ground", "the citizen asked")
    assert withdrawn["state"] == "withdrawn"
    as_json(home, "application", "create", form, "--office", "ub-1")
    returned = as_json(home, "application", "return", "2", "--ground", "old", "--field", "address")
    assert returned["state"] == "returned"
    assert [one["id"] for one in as_json(home, "application", "list", "--state", "returned")] == [2]


def test_people_are_found_by_numbers_that_no_argument_shows(home: Home, form: str) -> None:
    as_json(home, "office", "add", "ub-1", "--name", "Сүхбаатар")
    as_json(home, "application", "create", form, "--office", "ub-1")
    as_json(home, "application", "verify", "1", "--fingerprint", "check-1")
    for by, number in (("--civil-id", "123456789012"), ("--register-number", "уб05231418")):
        assert [one["id"] for one in as_json(home, "person", "find", by, typed=f"{number}\n")] == [1]
    assert as_json(home, "person", "find", "--civil-id", typed="999999999999\n") == []
    for words, typed, message in (
        (("--civil-id",), "\n", "no number on standard input"),
        (("--civil-id",), "12\n", "12 digits"),
        (("--civil-id", "--name", "Дорж"), "123456789012\n", "by one of"),
        (("--civil-id", "123456789012"), "", "unexpected extra argument"),
    ):
        result = run(home, "person", "find", *words, typed=typed)
        assert result.exit_code != 0
        assert message in result.stderr


def test_an_unblock_code_is_kept_that_no_argument_shows(home: Home, tmp_path: Path) -> None:
    as_json(home, "organization", "register", "1234567", "--name", "Татвар", "--mail", "info@tax.gov.mn")
    of, code = ("--organization", "1234567"), "so-pin-48151623"
    (tmp_path / "tokens").write_text("T-1\n")
    as_json(home, "token", "receive", str(tmp_path / "tokens"), *of, "--paper", "act 12")
    kept = as_json(home, "token", "keep-code", "t-1", *of, typed=f"{code}\n")
    assert kept == {"token": "T-1", "number": 1, "state": "kept"}
    for typed, message in (("", "nothing on standard input"), ("1 2 3 4\n", "printable ASCII")):
        result = run(home, "token", "keep-code", "T-1", *of, typed=typed)
        assert (result.exit_code != 0, message in result.stderr) == (True, True), result.stderr
    assert all(code.encode() not in path.read_bytes() for path in home.path.glob("pkiserver.db*"))


def test_lists_go_on_behind_the_last_row(home: Home, form: str) -> None:
    as_json(home, "office", "add", "ub-1", "--name", "Сүхбаатар")
    for _ in range(3):
        as_json(home, "application", "create", form, "--office", "ub-1")
    first = run(home, "application", "list", "--limit", "2", "--json")
    assert [one["id"] for one in json.loads(first.stdout)] == [3, 2]
    assert first.stderr == "There may be more: --after 2\n"
    last = run(home, "application", "list", "--limit", "2", "--after", "2", "--json")
    assert ([one["id"] for one in json.loads(last.stdout)], last.stderr) == ([1], "")
    assert "number of a row" in run(home, "application", "list", "--after", "x").stderr
    for number in ("1000001", "1000002"):
        as_json(home, "organization", "register", number, "--name", "Татвар", "--mail", "info@tax.gov.mn")
    organizations = run(home, "organization", "list", "--limit", "1")
    after = organizations.stderr.split()[-1]
    assert [one["number"] for one in as_json(home, "organization", "list", "--after", after)] == ["1000001"]
    certificates = as_json(home, "certificate", "list")
    for number, one in enumerate(certificates):
        rest = as_json(home, "certificate", "list", "--after", one["serial"])
        assert rest == certificates[number + 1 :]
    assert as_json(home, "enrollment", "list", "--after", "1") == []


def test_a_person_is_erased_by_two(home: Home, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_json(home, "office", "add", "ub-1", "--name", "Сүхбаатар")
    as_json(home, "application", "create", form, "--office", "ub-1")
    as_json(home, "application", "verify", "1", "--fingerprint", "check-1")
    as_json(home, "application", "withdraw", "1", "--ground", "the citizen asked")
    assert "is kept until" in run(home, "person", "erase", "1", "--ground", "retention is over").stderr
    with sqlite3.connect(home.database) as database:  # as if it had been made eight years ago
        database.execute("UPDATE applications SET updated_at = updated_at - 8 * 366 * 86400")
    asked = as_json(home, "person", "erase", "1", "--ground", "retention is over")
    assert asked["confirm_until"] > asked["asked_at"]
    assert "second person" in run(home, "person", "confirm-erasure", "1").stderr
    monkeypatch.setattr("pkiserver.control.local_actor", lambda _: "user:second")
    assert as_json(home, "person", "confirm-erasure", "1")["applications"] == [1]
    assert as_json(home, "person", "show", "1")["given_name"] is None


def test_the_key_of_personal_data_is_replaced(home: Home, form: str) -> None:
    assert "no personal data are kept" in run(home, "person", "rotate-key").stderr
    as_json(home, "office", "add", "ub-1", "--name", "Сүхбаатар")
    as_json(home, "application", "create", form, "--office", "ub-1")
    as_json(home, "application", "verify", "1", "--fingerprint", "check-1")
    before = home.personal_data_key.read_text()
    with HomeLock(home, "backup"):
        assert "another pkiserver process" in run(home, "person", "rotate-key").stderr
    assert as_json(home, "person", "rotate-key")["values"] > 8
    assert home.personal_data_key.read_text() != before
    assert [one["id"] for one in as_json(home, "person", "find", "--civil-id", typed="123456789012\n")] == [1]
    assert as_json(home, "person", "show", "1")["phone"] == "+97699112233"


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "no JSON"), ("[]", "no JSON object"), ('{"phone": "1"}', "phone: "), (" " * 70_000, "too large")],
)
def test_a_form_that_is_none(home: Home, form: str, content: str, message: str) -> None:
    as_json(home, "office", "add", "ub-1", "--name", "Сүхбаатар")
    Path(form).write_text(content)
    result = run(home, "application", "create", form, "--office", "ub-1")
    assert result.exit_code != 0
    assert message in result.stderr
    assert as_json(home, "application", "list") == []


def test_an_organisation(home: Home) -> None:
    as_json(home, "organization", "register", "1234567", "--name", "Татвар", "--mail", "info@tax.gov.mn")
    for event in ("send_contract", "sign_contract"):
        moved = as_json(home, "organization", "move", "1234567", event, "--ground", "letter 12")
    assert (moved["state"], moved["version"]) == ("contracted", 3)
    assert "domains  tax.gov.mn" in text(home, "organization", "domains", "1234567", "tax.gov.mn")
    officer = (
        *("organization", "officer-add", "1234567", "--parent-name", "Бат", "--given-name", "Дорж"),
        *("--title", "Дарга", "--ground", "order 1", "--mail"),
    )
    assert as_json(home, *officer, "dorj@tax.gov.mn")["title"] == "Дарга"
    assert "none of the organisation's domains" in run(home, *officer, "dorj@example.mn").stderr
    assert [one["mail"] for one in as_json(home, "organization", "officers", "1234567")] == [
        "dorj@tax.gov.mn"
    ]
    assert len(as_json(home, "organization", "show", "1234567")["events"]) == 3
    assert [one["number"] for one in as_json(home, "organization", "list", "--state", "contracted")] == [
        "1234567"
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("application", "list", "--state", "nowhere"),
        ("organization", "list", "--state", "nowhere"),
        ("application", "verify", "1"),
        ("application", "show", "1"),
        ("office", "day", "ub-1", "tomorrow"),
        ("person", "show", "1"),
        ("person", "erase", "1", "--ground", "over"),
        ("person", "confirm-erasure", "1"),
    ],
)
def test_one_clear_line_for_what_is_wrong(home: Home, words: tuple[str, ...]) -> None:
    result = run(home, *words)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_a_list_of_officers(home: Home, tmp_path: Path) -> None:
    run(home, "organization", "register", "1234567", "--name", "Татварын газар", "--mail", "info@tax.gov.mn")
    for event in ("send_contract", "sign_contract"):
        text(home, "organization", "move", "1234567", event, "--ground", "letter 12")
    text(home, "organization", "domains", "1234567", "tax.gov.mn")
    path = tmp_path / "officers.csv"
    path.write_text(LIST, "utf-8-sig")
    command = ("organization", "import", str(path), "--organization", "1234567")
    for options in (("--dry-run",), ()):
        refused = run(home, *command, *options)
        assert refused.exit_code == 1
        assert "carried out   NO" in refused.stdout
        assert "work_mail: it is of none of the organisation's domains" in refused.stdout
    assert as_json(home, "application", "list") == []
    partial = run(home, *command, "--partial", "--json")
    assert partial.exit_code == 1
    report = json.loads(partial.stdout)
    assert (report["made"], report["refused"], report["rows"][0]["application"]) == (1, 1, 1)
    assert json.loads(run(home, *command, "--partial", "--json").stdout) == report
    assert [one["profile"] for one in as_json(home, "application", "list")] == ["government-token"]
    path.write_bytes(bytes((512 << 10) + 1))
    assert "split it" in run(home, *command).stderr
