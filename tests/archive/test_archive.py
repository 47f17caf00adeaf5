"""Archive units (regulation 2.6, 4.1): exported, verified by us and by openssl, handed over."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.archive.manifest import parse_manifest
from pkiserver.archive.verifying import ArchiveError, Verified, verify_folder, verify_signature
from pkiserver.cli import main
from pkiserver.cli.context import Context
from pkiserver.errors import ConflictError, DeniedError, RefusedError
from pkiserver.progress import GiveFile, no_files, silent
from pkiserver.ra.archive import Subject
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols import oid
from protocols.cms.content_info import read_content_info
from protocols.cms.signed_data import SignedData
from tests.documents.test_documents import ran
from tests.ra.conftest import clock, core, initialised_home, recorded
from tests.ra.test_registration_documents import delivered, suspended
from tests.ra.test_registration_services import Story, story

__all__ = ["clock", "core", "initialised_home", "recorded", "story"]
ADMINISTRATOR = Actor("administrator-1", (Assignment(Role.ADMINISTRATOR),))
Run = Callable[..., Any]


@pytest.fixture
async def run(story: Story, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give commands as on a command line, to the core of this test."""
    loop = asyncio.get_running_loop()

    def command(_context: Context, name: str, give_file: GiveFile = no_files, /, **arguments: Any) -> Any:
        work = story.core.commands.run(name, arguments, "user:root", silent, give_file)
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    monkeypatch.setattr(Context, "command", command)

    async def given(*arguments: object) -> Result:
        line = ["--home", str(story.core.home.path), "archive", *map(str, arguments)]
        return await asyncio.to_thread(CliRunner().invoke, main, line)

    return given


def root_of(story: Story) -> x509.Certificate:
    return x509.load_pem_x509_certificate((story.core.home.public / "ca" / "root.pem").read_bytes())


def verified(story: Story, folder: Path) -> Verified:
    return verify_folder(folder, root_of(story), silent)


@pytest.fixture
async def package(story: Story, run: Run, tmp_path: Path) -> Path:
    """A package with the unit of an application that was delivered, and of a case of its certificate."""
    made = await delivered(story)
    await suspended(story, made)
    done = await run("export", tmp_path / "package")
    assert done.exit_code == 0, done.output
    return tmp_path / "package"


async def test_2_6_4_1_a_package_holds_all_that_was_made(story: Story, package: Path) -> None:
    assert (verified(story, package).units, verified(story, package).files) == (2, 7)
    unit = package / "application-1"
    names = {one.name for one in unit.iterdir()}
    pdfs = {one.partition("-")[0] for one in names if one.endswith(".pdf")}
    assert pdfs == {"application_form", "acknowledgement"}
    assert names >= {"manifest.json", "manifest.p7s", "record.json", "certificate.cer"}
    assert (package / "case-1" / "decision-mn-3.pdf").read_bytes().startswith(b"%PDF")
    record = json.loads((unit / "record.json").read_text())
    assert [one["event"] for one in record["events"]][-1] == "deliver"
    assert not list(package.parent.glob("*.part"))


@pytest.mark.interop
async def test_openssl_verifies_every_signature(story: Story, package: Path) -> None:
    root = story.core.home.public / "ca" / "root.pem"
    signed = [package / "package.json", *package.glob("*/manifest.json")]
    assert len(signed) == 3
    for content in signed:
        command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-content", str(content)]
        command += ["-in", str(content.with_suffix(".p7s")), "-CAfile", str(root), "-purpose", "any"]
        await asyncio.to_thread(ran, *command, "-out", "/dev/null")


def flip(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    path.write_bytes(octets)


async def test_any_file_that_is_altered_missing_or_added_is_named(
    story: Story, package: Path, tmp_path: Path
) -> None:
    """Each file of a package in turn: an octet is altered, the file is taken away, replaced by a link."""
    files = sorted(one.relative_to(package) for one in package.rglob("*") if one.is_file())
    assert len(files) == 13
    for name in files:
        for spoil in (flip, Path.unlink, _link):
            copy = tmp_path / "copy"
            shutil.copytree(package, copy)
            spoil(copy / name)
            # A manifest that was altered is found by its signature.
            told = (str(name), str(name).replace(".json", ".p7s"), str(name).replace(".p7s", ".json"))
            with pytest.raises(ArchiveError) as error:
                verified(story, copy)
            assert str(error.value).partition(": ")[0] in told
            shutil.rmtree(copy)


def _link(path: Path) -> None:
    [copy] = [one for one in path.parents if one.name == "copy"]
    content = copy.with_name("elsewhere")
    content.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(content)


@pytest.mark.parametrize("name", ["more.pdf", "application-1/more.pdf", "case-9/manifest.json", ".hidden"])
async def test_what_was_added_is_named(story: Story, package: Path, name: str) -> None:
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_bytes(b"more")
    with pytest.raises(ArchiveError, match="it was added"):
        verified(story, package)


async def test_a_unit_in_place_of_another_and_another_root_are_told(story: Story, package: Path) -> None:
    others = story.core.authorities.get("citizen").certificate
    with pytest.raises(ArchiveError, match="does not lead to the root"):
        verify_folder(package, others, silent)
    assert verified(story, package / "application-1").kind == "unit"
    shutil.rmtree(package / "application-1")
    shutil.copytree(package / "case-1", package / "application-1")
    with pytest.raises(ArchiveError, match="not the one of the package"):
        verified(story, package)


async def test_who_signs_other_things_signs_no_unit(story: Story, package: Path) -> None:
    content = (package / "package.json").read_bytes()
    for signer in (story.core.message_signer, story.core.audit_signer):
        message = SignedData.from_content_info(read_content_info(await signer.sign(oid.PKCS7_DATA, content)))
        detached = replace(message, content=None).to_content_info().encode()
        with pytest.raises(ArchiveError, match="none of archive units"):
            verify_signature(content, detached, root_of(story), "a")


async def test_a_broken_certificate_of_a_signer_is_no_more_than_a_wrong_signature(
    story: Story, package: Path
) -> None:
    """Which is read before it is known to be anybody's."""
    message = SignedData.from_content_info(read_content_info((package / "package.p7s").read_bytes()))
    signer = next(
        one
        for one in map(x509.load_der_x509_certificate, message.certificates)
        if "Archive" in one.subject.rfc4514_string()
    )
    builder = x509.CertificateBuilder(signer.issuer, signer.subject, None, signer.serial_number)
    builder = builder.not_valid_before(signer.not_valid_before_utc).not_valid_after(
        signer.not_valid_after_utc
    )
    key = ec.generate_private_key(ec.SECP256R1())
    for arc in ("1.2.3.4", "1.2.3.5"):
        named = x509.UnrecognizedExtension(x509.ObjectIdentifier(arc), b"\x05\x00")
        builder = builder.add_extension(named, critical=False)
    made = builder.public_key(key.public_key()).sign(key, SHA256()).public_bytes(Encoding.DER)
    twice = made.replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")
    forged = replace(message, certificates=(twice,)).to_content_info().encode()
    content = (package / "package.json").read_bytes()
    with pytest.raises(ArchiveError, match=r"a\.p7s"):
        verify_signature(content, forged, root_of(story), "a.p7s")


async def test_an_export_that_was_cut_short_goes_on(story: Story, package: Path, run: Run) -> None:
    """What is whole is kept, what is not is written anew, and what does not belong there goes."""
    begun = package.with_name("again.part")
    shutil.copytree(package, begun)
    (begun / "application-1" / "record.json").write_text("{")
    (begun / "case-99").mkdir()
    whole = (begun / "case-1" / "manifest.json").stat().st_ino
    done = await run("export", package.with_name("again"), "--json")
    assert done.exit_code == 0, done.output
    again = package.with_name("again")
    assert verified(story, again).units == 2
    assert (again / "case-1" / "manifest.json").stat().st_ino == whole
    for name in ("application-1/manifest.json", "application-1/record.json"):
        assert (again / name).read_bytes() == (package / name).read_bytes()


async def test_the_hand_over_is_receipted_and_closes_the_application(
    story: Story, package: Path, run: Run, tmp_path: Path, recorded: Any
) -> None:
    done = await run("receipt", 1, "--taken-by", "Д. Оюун", "--number", "2026/17", "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    receipt = (tmp_path / "r" / "receipt.json").read_bytes()
    verify_signature(receipt, (tmp_path / "r" / "receipt.p7s").read_bytes(), root_of(story), "receipt")
    said = json.loads(receipt)
    listed = hashlib.sha256((package / "package.json").read_bytes()).hexdigest()
    assert (said["taken_by"], said["units"], said["package_sha256"]) == ("Д. Оюун", 2, listed)
    assert (await story.record(1)).state == "closed"
    log = await recorded(story.core.storage)
    [entry] = [one for one in log if one["action"] == "archive.hand_over"]
    assert (entry["package"], entry["receipt_sha256"]) == (1, hashlib.sha256(receipt).hexdigest())
    lost = await run("receipt", 1, "--taken-by", "Д. Оюун", "--number", "2026/17", "--out", tmp_path / "l")
    assert lost.exit_code == 0, lost.output
    assert (tmp_path / "l" / "receipt.json").read_bytes() == receipt
    again = await run("receipt", 1, "--taken-by", "x", "--number", "1", "--out", tmp_path / "s")
    assert "was taken before" in again.output
    assert not (tmp_path / "s").exists()
    empty = await run("export", tmp_path / "nothing")
    assert "nothing waits for the archive" in empty.output


async def test_a_unit_is_handed_over_once(story: Story, package: Path, run: Run) -> None:
    archive = story.core.archive
    other = await archive.seal(ADMINISTRATOR, [1])
    await archive.hand_over(ADMINISTRATOR, 1, "a", "1")
    with pytest.raises(ConflictError, match="with another package"):
        await archive.hand_over(ADMINISTRATOR, other.id, "b", "2")
    with pytest.raises(ConflictError, match="handed over with package 1"):
        await archive.seal(ADMINISTRATOR, [1])


async def test_what_is_not_finished_or_was_erased_is_no_unit(story: Story, package: Path) -> None:
    archive = story.core.archive
    draft = await story.draft()
    with pytest.raises(ConflictError, match="not finished"):
        await archive.unit(ADMINISTRATOR, Subject(application=draft.id))
    data = story.services.personal_data
    await story.core.storage.write(lambda tx: data.erase(tx, "documents", 1))
    with pytest.raises(ConflictError, match="erased"):
        await archive.unit(ADMINISTRATOR, Subject(application=1))


async def test_administrators_alone_export(story: Story) -> None:
    with pytest.raises(DeniedError):
        await story.core.archive.pending(story.registrar, story.clock.now())
    with pytest.raises(DeniedError):
        await story.core.archive.unit(story.registrar, Subject(application=1))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind": "unit", "number": 1, "made_at": "", "sha256": {}}',
        b'{"kind": "unit", "number": 1, "made_at": "", "sha256": {"../x.pdf": "%s"}}' % (b"0" * 64),
        b'{"kind": "unit", "number": 1, "made_at": "", "sha256": {"x.pdf": "0"}}',
        b'{"kind": "other", "number": 1, "made_at": "", "sha256": {"x.pdf": "%s"}}' % (b"0" * 64),
        b'{"kind": "unit", "number": 1e999, "made_at": "", "sha256": {"x.pdf": "%s"}}' % (b"0" * 64),
        b"[" * 100_000,
        b" " * (1 << 21),
    ],
    ids=[
        "empty",
        "list",
        "nothing",
        "no files",
        "outside",
        "no hash",
        "other kind",
        "endless",
        "deep",
        "long",
    ],
)
def test_what_is_no_manifest(content: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_manifest(content)
