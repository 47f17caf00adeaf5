"""`pkiserver demo` on a running server: both stories to their end, and where it does not begin."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from client_messages import new_key
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from server_harness import Server, done, run_program

from pkiserver.demo.client import Doors
from pkiserver.demo.stage import Stage, Step
from pkiserver.errors import UnavailableError
from pkiserver.home import Home
from tests.citizens import UNLIMITED_FORM as CITIZEN

APPLICATION = {"office": "demo-1", "channel": "branch", "carrier": "id_card", "profile": "citizen-signature"}
SAID_OF_STATUS = [f"asked OCSP, which says: {one}" for one in ("good", "on hold", "good", "revoked")]


def refused(home: Path, *words: str) -> str:
    run = run_program(home, "demo", *words)
    assert run.returncode == 1, run.stdout
    return run.stderr


def applications(server: Server) -> list[dict[str, object]]:
    found: list[dict[str, object]] = server.command("application.list", state=None, office=None, limit=100)
    return found


def is_of_the_demonstration(subject: str) -> bool:
    return "demo-" in subject or "Демо" in subject


def assert_powerless_actors(server: Server, count: int) -> None:
    made = [one for one in server.command("actor.list") if one["name"].startswith("demo-")]
    assert [(one["roles"], one["serials"]) for one in made] == [([], [])] * count


def test_both_stories_and_what_they_leave(server: Server) -> None:
    told = done(run_program(server.home, "demo"))
    for story in ("citizen", "government"):
        lines = [line for line in told.splitlines() if line.startswith(story)]
        assert [line.partition("anybody")[2].strip() for line in lines if "anybody" in line] == SAID_OF_STATUS
    assert {one["state"] for one in applications(server)} == {"closed", "issued"}
    assert_powerless_actors(server, 3)
    issued = [one["status"] for one in server.certificates() if is_of_the_demonstration(one["subject"])]
    assert issued == ["revoked"] * 5
    assert [one["code"] for one in server.command("office.list")] == ["demo-1"]
    (organization,) = server.command("organization.list", state=None, limit=10)
    assert (organization["name"], organization["state"]) == ("Demonstration organisation", "ended")

    # A second time it is played beside what the first one left; the registry's file has both people once.
    registry = (server.home / "civil-registry.jsonl").read_text()
    steps = json.loads(done(run_program(server.home, "demo", "--json")))
    assert {one["story"] for one in steps} == {"before", "citizen", "government", "after"}
    assert set(steps[0]) == {"story", "who", "what"}
    assert (server.home / "civil-registry.jsonl").read_text() == registry
    assert len(applications(server)) == 4

    # Real people are no audience, unless somebody says so; what the registry's file holds of them stays.
    server.command("application.create", fields=CITIZEN, **APPLICATION)
    assert "real people on record" in refused(server.home)
    assert len(applications(server)) == 5
    done(run_program(server.home, "demo", "--yes"))
    assert len(applications(server)) == 7


def test_it_says_when_no_server_runs(home: Path) -> None:
    assert "no server runs on this home" in refused(home)
    assert not (home / "civil-registry.jsonl").exists()


@pytest.mark.long
def test_it_makes_no_roles_that_take_a_second_administrator(server: Server) -> None:
    second = server.issued(new_key(), "administrator", "CN=second", "email:second@example.mn")
    pem = second.public_bytes(Encoding.PEM).decode()
    given = {"pem": pem, "role": "administrator", "civil_id": "900000000002"}
    assert server.command("actor.add", name="second", **given)["waiting"] == []
    assert "a second administrator would have to confirm" in refused(server.home)
    assert_powerless_actors(server, 1)
    assert server.command("actor.proposals", state="waiting") == []
    assert applications(server) == []


@pytest.mark.long
def test_it_leaves_a_connected_registry_alone(server: Server) -> None:
    path = server.home / "pkiserver.toml"
    head, section, text = path.read_text().partition("[civil_registry]")
    for name, value in (
        *(("url", "https://registry.example.mn/v1"), ("ca_file", "ca.pem")),
        ("certificate_file", "client.pem"),
    ):
        text = text.replace(f'\n{name} = ""', f'\n{name} = "{value}"', 1)
    path.write_text(head + section + text)
    assert "knows nobody of the demonstration" in refused(server.home)
    assert server.command("office.list") == []


@pytest.mark.long
def test_the_file_of_the_registry_keeps_whom_it_knew(server: Server) -> None:
    known = '{"civil_id": "123456789012", "register_number": "УБ05231418", "birth_date": "2005-03-14", '
    known += '"parent_name": "Бат", "clan_name": null, "given_name": "Дорж", "entitled": true}'
    (server.home / "civil-registry.jsonl").write_text(known)  # without a line's end
    done(run_program(server.home, "demo"))
    first, *others = (server.home / "civil-registry.jsonl").read_text().splitlines()
    assert first == known
    assert [json.loads(one)["parent_name"] for one in others] == ["Демо", "Демо"]


def certificate_of(serial: int) -> x509.Certificate:
    key, name = new_key(), x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, now, now)
    return builder.sign(key, SHA256())


class Refusing:
    """A stage whose server takes nothing back of what is called so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *refused: str) -> None:
        self.told: list[Step] = []
        self.done: list[str] = []
        self.stage = Stage(Home(tmp_path), Doors(("", 0), ("", 0)), tmp_path, self.told.append)
        self.stage.actors += ["demo-a", "demo-b"]
        self.refused = refused
        monkeypatch.setattr("pkiserver.demo.stage.command", self.command)

    def command(self, _home: Home, name: str, /, **given: str) -> object:
        if name == "actor.list":
            return [{"name": one} for one in self.stage.actors]
        asked = given.get("name") or given["serial"].lstrip("0")
        if asked in self.refused:
            raise UnavailableError("the disk is full")
        if name == "certificate.show":
            return {"status": "revoked" if asked == "3" else "active"}
        self.done.append(f"{name} {asked}")
        return None


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ((), []),
        (("demo-a",), ["could not remove actor demo-a: the disk is full"]),
        (("1", "demo-b"), ["could not remove actor demo-b", "could not revoke certificate"]),
    ],
)
def test_a_clean_up_that_fails_keeps_none_from_being_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: tuple[str, ...], told: list[str]
) -> None:
    house = Refusing(monkeypatch, tmp_path, *refused)
    house.stage.certificates += [certificate_of(serial) for serial in (1, 2, 3)]
    assert house.stage.dismiss() is not bool(refused)
    removed = ("demo-a", "demo-b")
    wanted = [f"actor.remove {one}" for one in removed if one not in refused]
    wanted += [f"certificate.revoke {one}" for one in ("1", "2") if one not in refused]
    assert house.done == wanted
    for step, words in zip(house.told, told, strict=True):
        assert step.what.startswith(words)
