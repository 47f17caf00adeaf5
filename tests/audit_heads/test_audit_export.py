"""`audit export`, and what others make of it: OpenSSL and sha256sum verify heads and records without us."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_head_steps import add_records, heads_of, kept, verify
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver import audit
from pkiserver.audit_heads.export_text import README
from pkiserver.audit_heads.signed_head import heads_in
from pkiserver.cli.new_folder import FolderWriter
from pkiserver.core import Core
from pkiserver.errors import NotFoundError, PKIServerError
from pkiserver.progress import silent
from store import audit as chain

# What the README has a reader type: all lines after its introduction but the numbered headings.
COMMANDS = "\n".join(
    line for line in README.split("you trust.\n", 1)[1].splitlines() if not re.match(r"[0-9]\. ", line)
)


async def export(core: Core, folder: Path, first: int = 1, last: int | None = None) -> dict[str, Any]:
    folder.mkdir()
    files = FolderWriter(folder)
    arguments = {"first": first, "last": last}
    result: dict[str, Any] = await core.commands.run("audit.export", arguments, "tests", silent, files.take)
    files.close()
    return result


def checked(core: Core, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Do what the README says, with the root's certificate."""
    root = core.authorities.get("root").certificate
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    return in_shell(folder, COMMANDS)


def in_shell(folder: Path, commands: str) -> "subprocess.CompletedProcess[str]":
    shell = ["bash", "-e", "-o", "pipefail", "-c", commands]
    return subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=False)


def tamper_records(folder: Path) -> None:
    path = folder / "audit-records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"tests"', b'"nobody"', 1))


def tamper_links(folder: Path) -> None:
    path = folder / "audit-links.txt"
    octets = bytearray(path.read_bytes())
    octets[octets.index(b"\n1 ") + 9] ^= 1
    path.write_bytes(octets)


def tamper_first_link(folder: Path) -> None:
    """A log that begins with other records."""
    path = folder / "audit-links.txt"
    path.write_bytes(path.read_bytes().replace(b"begin 0 00", b"begin 0 01"))


def tamper_head(folder: Path) -> None:
    """The content that was signed is another: its first character in Base64 stands in the signed part."""
    path = folder / "audit-head.pem"
    commands = "openssl cms -cmsout -inform PEM -in audit-head.pem -outform DER -out head.der"
    assert in_shell(folder, commands).returncode == 0
    octets = (folder / "head.der").read_bytes().replace(b'"sequence": 1', b'"sequence": 2')
    (folder / "head.der").write_bytes(octets)
    commands = "openssl cms -cmsout -inform DER -in head.der -outform PEM -out audit-head.pem; rm head.der"
    before = path.read_bytes()
    assert in_shell(folder, commands).returncode == 0
    assert path.read_bytes() != before


@pytest.mark.interop
class TestWithoutUs:
    async def test_an_export_is_verified(self, core: Core, tmp_path: Path) -> None:
        await add_records(core, 20)
        await heads_of(core).maintain()
        await add_records(core, 5)
        result = await export(core, tmp_path / "made", 7, 15)
        assert (result["first"], result["last"]) == (7, 15)
        assert result["head_record"] == (await kept(core))[0].sequence
        verified = checked(core, tmp_path / "made")
        assert verified.returncode == 0, verified.stderr
        assert "Audit log 1" in verified.stdout
        assert verified.stdout.endswith("the records are those of the links\n")
        lines = (tmp_path / "made" / "audit-records.jsonl").read_text().splitlines()
        assert [json.loads(line)[0] for line in lines] == list(range(7, 16))

    async def test_a_new_head_covers_the_newest_records(self, core: Core, tmp_path: Path) -> None:
        """The first signing issues the signer's certificate: records that follow the last exported one."""
        await heads_of(core).maintain()
        await add_records(core, 3)
        result = await export(core, tmp_path / "made")
        assert len(await kept(core)) == 2
        assert result["head_record"] == result["last"] + 1  # audit.export itself
        assert checked(core, tmp_path / "made").returncode == 0

    @pytest.mark.parametrize(
        "alter", [tamper_records, tamper_links, tamper_first_link, tamper_head], ids=lambda one: one.__name__
    )
    async def test_what_was_altered_is_found(
        self, core: Core, tmp_path: Path, alter: Callable[[Path], None]
    ) -> None:
        """Also where the sums were made anew."""
        end = await core.storage.read(chain.head)
        assert end is not None
        await add_records(core, 150 - end.sequence)
        made = tmp_path / "made"
        await export(core, made, 1, 120)
        assert checked(core, made).returncode == 0
        alter(made)
        assert checked(core, made).returncode != 0
        assert in_shell(made, "sha256sum audit-* README.txt > SHA256SUMS").returncode == 0
        verified = checked(core, made)
        assert verified.returncode != 0
        assert "SHA256SUMS" not in verified.stderr

    async def test_the_head_of_another_time_does_not_fit(self, core: Core, tmp_path: Path) -> None:
        made = tmp_path / "made"
        await export(core, made, 1, 5)
        await add_records(core, 1)
        other = await core.commands.run("audit.sign_head", {}, "tests", silent)
        (made / "audit-head.pem").write_text(other)
        assert in_shell(made, "sha256sum audit-* README.txt > SHA256SUMS").returncode == 0
        verified = checked(core, made)
        assert verified.returncode != 0
        assert "Verification successful" in verified.stderr

    async def test_openssl_verifies_the_head_in_the_file(self, core: Core, tmp_path: Path) -> None:
        await heads_of(core).maintain()
        root = tmp_path / "root.pem"
        root.write_bytes(core.authorities.get("root").certificate.public_bytes(Encoding.PEM))
        command = f"openssl cms -verify -inform PEM -CAfile root.pem -in {core.home.path}/heads.pem"
        shown = in_shell(tmp_path, command)
        assert shown.returncode == 0, shown.stderr
        (record,) = await kept(core)
        assert json.loads(shown.stdout)["sequence"] == record.sequence


async def test_records_that_are_not_there(core: Core, tmp_path: Path) -> None:
    end = await core.storage.read(chain.head)
    assert end is not None
    for number, (first, last) in enumerate([(5, 4), (1, end.sequence + 100), (end.sequence + 100, None)]):
        with pytest.raises(NotFoundError, match="there are no records"):
            await export(core, tmp_path / str(number), first, last)
    assert await kept(core) == []


async def test_who_exported_is_recorded_and_nothing_personal_is_given(core: Core, tmp_path: Path) -> None:
    def personal(tx: Any) -> None:
        chain.append(tx, audit.entry(core.clock.now(), "tests", "act", personal={"subject": "CN=Дорж"}))

    await core.storage.write(personal)
    await export(core, tmp_path / "made")
    text = (tmp_path / "made" / "audit-records.jsonl").read_text()
    assert "Дорж" not in json.dumps([json.loads(line) for line in text.splitlines()], ensure_ascii=False)
    records = await core.storage.read(lambda tx: chain.after(tx, 0, 1000))
    (exported,) = [one for one in records if one.action == "audit.export"]
    assert exported.actor == "tests"


async def test_a_log_that_was_altered_is_not_exported(core: Core, tmp_path: Path) -> None:
    await heads_of(core).maintain()
    await core.storage.write(lambda tx: tx.execute("UPDATE audit SET actor = 'nobody' WHERE sequence = 3"))
    with pytest.raises(PKIServerError, match="audit record 3 was altered"):
        await export(core, tmp_path / "made", 1, 5)


async def test_a_head_signed_when_somebody_asks(core: Core) -> None:
    text = await core.commands.run("audit.sign_head", {}, "tests", silent)
    found, _ = heads_in(text)
    assert await verify(core, found) == 1
