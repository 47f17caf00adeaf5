"""Registration on the command line, without a server: a citizen's story and an organisation's."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pkiserver.cli import main
from pkiserver.home import Home

FORM: dict[str, Any] = {
    "aimag": "Улаанбаатар",
    "district": "Сүхбаатар",
    "register_number": "УБ05231418",
    "civil_id": "123456789012",
    "birth_date": "2005-03-14",
    "parent_name": "Бат",
    "given_name": "Дорж",
    "address": "1-р хороо 5-12",
    "phone": "99112233",
    "mail": "dorj@example.mn",
    "use_restricted": False,
    "value_limited": False,
}
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


def run(home: Home, *words: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home.path), *words], catch_exceptions=False)


def as_json(home: Home, *words: str) -> Any:
    result = run(home, *words, "--json")
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
        ("person", "find"),
        ("person", "show", "1"),
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
