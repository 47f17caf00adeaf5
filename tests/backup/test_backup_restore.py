"""A home and its backup: what is in it, what is refused, and what comes back."""

import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.backup.making import Backup, make_backup
from pkiserver.backup.manifest import DATABASE, Manifest
from pkiserver.backup.restoring import restore_backup, verify_backup
from pkiserver.backup.sealed import DamagedBackupError, SealedReader, SealedWriter
from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.errors import ConflictError, PKIServerError, UnavailableError
from pkiserver.home import Home, HomeLock
from pkiserver.progress import silent
from store.errors import StorageError

PASSPHRASE = "correct horse battery"
NOW = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
CHEAP = 10


def backed_up(home: Home, target: Path) -> Backup:
    return make_backup(home, target, PASSPHRASE, "user:ann", NOW, silent, cost=CHEAP)


async def restored(file: Path, home: Home) -> Manifest:
    with file.open("rb") as source:
        return await restore_backup(source, PASSPHRASE, home, "user:bob", NOW, silent)


def contents(file: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Return what is in a backup, read past every check but the seal."""
    with file.open("rb") as source:
        reader = SealedReader(source, PASSPHRASE)
        manifest = Manifest.parse(reader.exactly(int.from_bytes(reader.exactly(4), "big")))
        return manifest, {one.path: reader.exactly(one.octets) for one in manifest.files}


def forged(file: Path, manifest: bytes, files: dict[str, bytes]) -> Path:
    """Write a file that is sealed as it should be around what is not as it should be."""
    with file.open("wb") as out:
        writer = SealedWriter(out, PASSPHRASE, cost=CHEAP)
        writer.write(len(manifest).to_bytes(4, "big") + manifest + b"".join(files.values()))
        writer.finish()
    return file


class TestMaking:
    def test_what_is_in_it(self, home: Home, tmp_path: Path) -> None:
        (home.profiles / "own.toml").write_text("# mine\n")
        home.decrypt_keys.mkdir()
        (home.decrypt_keys / "one.key").write_bytes(b"shared")
        for unfinished in (f".ca-root.{'0f' * 8}", ".passphrase.4711.new"):
            (home.keys / unfinished).write_bytes(b"part of a file")
        (home.path / ".notes").write_bytes(b"hidden, and the operator's")
        made = backed_up(home, tmp_path / "b")
        manifest, files = contents(tmp_path / "b")
        assert manifest == made.manifest
        assert {"pkiserver.toml", "profiles/own.toml", "keys/ca-root.pem", "keys/passphrase"} <= set(files)
        assert {"tls/server.pem", "administrator/administrator.p12", "decrypt-keys/one.key"} <= set(files)
        assert not [name for name in files if name.startswith(("run/", "public/", "responses/", "keys/."))]
        assert files[".notes"] == b"hidden, and the operator's"
        assert files["keys/ca-root.pem"] == (home.keys / "ca-root.pem").read_bytes()

    def test_a_folder_gets_a_file_named_by_the_moment(self, home: Home, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        made = backed_up(home, tmp_path / "folder")
        assert made.file == tmp_path / "folder" / "pkiserver-20270102T030405Z.backup"
        assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
        assert os.listdir(tmp_path / "folder") == [made.file.name]
        assert not list(home.run.glob("backup-*"))

    def test_nothing_is_overwritten(self, home: Home, tmp_path: Path) -> None:
        (tmp_path / "b").write_bytes(b"former")
        with pytest.raises(ConflictError, match="there already"):
            backed_up(home, tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == b"former"

    def test_one_at_a_time(self, home: Home, tmp_path: Path) -> None:
        with HomeLock(home, "backup"), pytest.raises(ConflictError, match="another pkiserver process"):
            backed_up(home, tmp_path / "b")

    def test_what_a_killed_one_left_in_clear_goes(self, home: Home, tmp_path: Path) -> None:
        home.run.mkdir(exist_ok=True)
        left = home.run / "backup-0011.db"
        left.write_bytes(b"a copy in clear")
        backed_up(home, tmp_path / "b")
        assert not list(home.run.glob("backup-*"))

    def test_not_into_the_home(self, home: Home) -> None:
        with pytest.raises(ConflictError, match="lost with it"):
            backed_up(home, home.keys)

    def test_a_key_that_is_missing(self, home: Home, tmp_path: Path) -> None:
        (home.keys / "ca-root.pem").unlink()
        with pytest.raises(ConflictError, match="ca-root"):
            backed_up(home, tmp_path / "b")
        assert not (tmp_path / "b").exists()

    def test_a_link_to_a_folder_is_not_passed_over(self, home: Home, tmp_path: Path) -> None:
        home.keys.rename(tmp_path / "elsewhere")
        home.keys.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConflictError, match="link to a folder"):
            backed_up(home, tmp_path / "b")

    def test_what_is_no_file(self, home: Home, tmp_path: Path) -> None:
        os.mkfifo(home.profiles / "pipe.toml")
        with pytest.raises(ConflictError, match="no file"):
            backed_up(home, tmp_path / "b")

    def test_files_outside_are_named(self, home: Home, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        (home.keys / "passphrase").rename(secret)
        text = home.configuration.read_text().replace('"keys/passphrase"', f'"{secret}"')
        home.configuration.write_text(text)
        assert backed_up(home, tmp_path / "b").manifest.outside == (str(secret),)

    @pytest.mark.parametrize(
        ("line", "named"),
        [
            ('mail_ca_file = ""', 'mail_ca_file = "{}"'),
            ('sms_token_file = ""', 'sms_token_file = "{}"'),
            ('certificate_file = ""', 'certificate_file = "{}"'),
            ("peers = []", 'peers = ["{}"]'),
            ("blocklists = []", 'blocklists = ["{}"]'),
        ],
        ids=["mail", "sms", "civil registry", "peers", "blocklists"],
    )
    def test_every_file_outside_is_named(self, home: Home, tmp_path: Path, line: str, named: str) -> None:
        """Of the secrets of other services, too: a restored home is of little use without them."""
        text = home.configuration.read_text()
        assert text.count(f"\n{line}\n") == 1
        for path, outside in ((tmp_path / "elsewhere", True), (home.path / "within", False)):
            path.write_bytes(b"needed")
            home.configuration.write_text(text.replace(line, named.format(path)))
            found = backed_up(home, tmp_path / f"b-{path.name}").manifest.outside
            assert found == ((str(path),) if outside else ())

    def test_so_are_the_issuers_that_profiles_trust(self, home: Home, tmp_path: Path) -> None:
        home.profiles.mkdir(exist_ok=True)
        (home.profiles / "own.toml").write_text(f'trusted_issuers = ["{tmp_path}/third.pem", "within.pem"]\n')
        (home.profiles / "broken.toml").write_bytes(b"\xff =")
        (home.path / "within.pem").write_bytes(b"")
        assert backed_up(home, tmp_path / "b").manifest.outside == (f"{tmp_path.resolve()}/third.pem",)

    @pytest.mark.parametrize(("name", "is_in_it"), [("keys/.secret", True), ("run/secret", False)])
    def test_no_secret_is_lost_unseen(self, home: Home, tmp_path: Path, name: str, is_in_it: bool) -> None:
        """A passphrase in a hidden file, or in a folder that is left out: the keys are nothing without it."""
        (home.keys / "passphrase").rename(home.path / name)
        text = home.configuration.read_text().replace('"keys/passphrase"', f'"{name}"')
        home.configuration.write_text(text)
        made = backed_up(home, tmp_path / "b").manifest
        assert (name in {one.path for one in made.files}) is is_in_it
        assert (str((home.path / name).resolve()) in made.outside) is not is_in_it

    def test_the_keys_of_a_token_are_its_own_affair(self, home: Home, tmp_path: Path) -> None:
        uri = f"pkcs11:token=ca?module-path=/usr/lib/hsm.so&pin-source=file:{tmp_path}/pin"
        text = home.configuration.read_text().replace('store = "software"', 'store = "pkcs11"')
        home.configuration.write_text(text.replace('uri = ""', f'uri = "{uri}"'))
        for key in home.keys.glob("*.pem"):
            key.unlink()
        assert set(backed_up(home, tmp_path / "b").manifest.outside) == {
            str(Path("/usr/lib/hsm.so").resolve()),
            f"{tmp_path.resolve()}/pin",
        }

    def test_a_file_that_changes_meanwhile(self, home: Home, tmp_path: Path) -> None:
        def touch(text: str, done: int = 0, total: int = 0) -> None:
            if text == "files":
                home.configuration.write_text(f"# {done}")

        with pytest.raises(UnavailableError, match=r"pkiserver.toml was changed"):
            make_backup(home, tmp_path / "b", PASSPHRASE, "user:ann", NOW, touch, cost=CHEAP)
        assert os.listdir(tmp_path) == ["home"]

    def test_a_damaged_database_is_not_taken_for_a_backup(self, home: Home, tmp_path: Path) -> None:
        with sqlite3.connect(home.database) as database:
            database.execute("DELETE FROM status_events WHERE sequence = 2")
        with pytest.raises(StorageError, match="gap"):
            backed_up(home, tmp_path / "b")


class TestRestoring:
    async def test_all_of_it(self, home: Home, tmp_path: Path) -> None:
        made = backed_up(home, tmp_path / "b")
        new = Home(tmp_path / "new")
        assert await restored(tmp_path / "b", new) == made.manifest
        async with open_core(new, Clock()) as core:
            verified = await core.commands.run("audit.verify", {"head": None}, "user:bob", silent)
            assert verified["sequence"] == made.manifest.head.sequence + 1
            (last,) = await core.commands.run("audit.list", {"limit": 1}, "user:bob", silent)
        assert (last["action"], last["actor"]) == ("home.restore", "user:bob")
        assert (new.public / "crl" / "citizen.crl").read_bytes() == (
            home.public / "crl" / "citizen.crl"
        ).read_bytes()
        assert stat.S_IMODE(new.path.stat().st_mode) == 0o700
        assert sorted(os.listdir(tmp_path)) == ["b", "home", "new"]

    async def test_into_an_empty_folder(self, home: Home, tmp_path: Path) -> None:
        backed_up(home, tmp_path / "b")
        (tmp_path / "new").mkdir()
        await restored(tmp_path / "b", Home(tmp_path / "new"))
        assert Home(tmp_path / "new").database.exists()

    async def test_not_into_a_home_that_is_there(self, home: Home, tmp_path: Path) -> None:
        backed_up(home, tmp_path / "b")
        before = home.database.read_bytes()
        with pytest.raises(ConflictError, match="not empty"):
            await restored(tmp_path / "b", home)
        assert home.database.read_bytes() == before

    async def test_the_crl_of_an_outside_root_comes_along(self, home: Home, tmp_path: Path) -> None:
        with sqlite3.connect(home.database) as database:
            database.execute("UPDATE authorities SET key_label = NULL WHERE name = 'root'")
        (home.public / "crl" / "root.crl").write_bytes(b"made at the root")
        backed_up(home, tmp_path / "b")
        await restored(tmp_path / "b", Home(tmp_path / "new"))
        found = tmp_path / "new" / "public" / "crl" / "root.crl"
        assert found.read_bytes() == b"made at the root"
        assert stat.S_IMODE(found.stat().st_mode) == 0o644


def altered(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda values: values.update(changes)


def _with_path(path: str) -> Callable[[dict[str, Any]], None]:
    return lambda values: values["files"][1].update(path=path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SOUND: dict[str, Any] = {
    "made_at": "2027-01-02T03:04:05Z",
    "made_by": "user:ann",
    "program": "0.1.0",
    "head": {"sequence": 0, "hash": "00" * 32},
    "events": 0,
    "files": [{"path": DATABASE, "octets": 0, "sha256": "00" * 32}],
    "outside": [],
}


@given(st.binary(max_size=60))
def test_no_octets_break_the_list_of_files(data: bytes) -> None:
    with pytest.raises(DamagedBackupError):
        Manifest.parse(data)


@given(st.sampled_from([*SOUND, "path", "octets", "sha256"]), JSON)
def test_no_value_breaks_the_list_of_files(name: str, value: Any) -> None:
    values = json.loads(json.dumps(SOUND))
    (values if name in values else values["files"][0])[name] = value
    try:
        read = Manifest.parse(json.dumps(values).encode())
    except DamagedBackupError:
        return
    assert Manifest.parse(read.encode()) == read


FORGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "another head": altered(head={"sequence": 1, "hash": "00" * 32}),
    "another event": altered(events=3),
    "a time that is none": altered(made_at="yesterday"),
    "no database": lambda values: values["files"].pop(0),
    "a path up": _with_path("../escaped"),
    "a path up within": _with_path("keys/../../escaped"),
    "an absolute path": _with_path("/escaped"),
    "a path twice": _with_path(DATABASE),
    "a line in a path": _with_path("keys/a\nb"),
    "a negative length": lambda values: values["files"][1].update(octets=-1),
    "a huge length": lambda values: values["files"][1].update(octets=1 << 50),
    "a length that is none": lambda values: values["files"][1].update(octets="7"),
    "another hash": lambda values: values["files"][1].update(sha256="00" * 32),
}


@pytest.mark.parametrize("spoil", FORGED.values(), ids=FORGED)
async def test_a_forged_list_of_files_makes_no_home(
    spoil: Callable[[dict[str, Any]], None], home: Home, tmp_path: Path
) -> None:
    backed_up(home, tmp_path / "b")
    manifest, files = contents(tmp_path / "b")
    values = json.loads(manifest.encode())
    spoil(values)
    file = forged(tmp_path / "forged", json.dumps(values).encode(), files)
    with pytest.raises(PKIServerError):
        await restored(file, Home(tmp_path / "new"))
    assert sorted(os.listdir(tmp_path)) == ["b", "forged", "home"]


async def test_an_audit_chain_that_was_cut_makes_no_home(home: Home, tmp_path: Path) -> None:
    """Whoever knows the passphrase can seal anything; the head in the list is held against the chain."""
    made = backed_up(home, tmp_path / "b")
    with sqlite3.connect(home.database) as database:
        database.execute("DELETE FROM audit WHERE sequence = ?", (made.manifest.head.sequence,))
    backed_up(home, tmp_path / "cut")
    (_, files), (cut, cut_files) = contents(tmp_path / "b"), contents(tmp_path / "cut")
    assert files.keys() == cut_files.keys()
    values = json.loads(cut.encode()) | {"head": json.loads(made.manifest.encode())["head"]}
    file = forged(tmp_path / "forged", json.dumps(values).encode(), cut_files)
    with pytest.raises(ConflictError, match="its tail was cut"):
        await restored(file, Home(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_check_reads_all_of_it(home: Home, tmp_path: Path) -> None:
    made = backed_up(home, tmp_path / "b")
    data = (tmp_path / "b").read_bytes()
    assert verify_backup(io.BytesIO(data), PASSPHRASE, silent) == made.manifest
    with pytest.raises(DamagedBackupError):
        verify_backup(io.BytesIO(data[:-1]), PASSPHRASE, silent)


async def test_the_copy_is_one_moment_while_certificates_are_issued(
    core: Core, home: Home, tmp_path: Path, issue: Callable[..., Any]
) -> None:
    await issue(core)
    made = backed_up(home, tmp_path / "b")
    await issue(core, "later.example.mn")
    await restored(tmp_path / "b", Home(tmp_path / "new"))
    with sqlite3.connect(Home(tmp_path / "new").database) as database:
        events = database.execute("SELECT max(sequence) FROM status_events").fetchone()[0]
        names = [row[0] for row in database.execute("SELECT subject FROM certificates")]
    assert events == made.manifest.events
    assert "CN=www.example.mn" in names
    assert "CN=later.example.mn" not in names


def test_the_words_of_the_command(home: Home, tmp_path: Path) -> None:
    """As operators give them, with the passphrase in a file that is closed to others."""
    program = str(Path(sys.executable).with_name("pkiserver"))
    (tmp_path / "pass").write_text(PASSPHRASE + "\n")
    option = ("--passphrase-file", str(tmp_path / "pass"))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [program, "--home", str(home.path), *words, *option]
        return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    (tmp_path / "pass").chmod(0o644)
    assert "open to others" in run("backup", str(tmp_path / "b")).stderr
    (tmp_path / "pass").chmod(0o600)
    assert run("backup", str(tmp_path / "b")).returncode == 0
    assert run("restore", str(tmp_path / "b"), "--check").returncode == 0
    assert not (tmp_path / "new").exists()
    assert run("restore", str(tmp_path / "b"), "--home", str(tmp_path / "new")).returncode == 0
    assert Home(tmp_path / "new").exists()
    assert PASSPHRASE not in run("restore", str(tmp_path / "b"), "--home", str(tmp_path / "new")).stderr
