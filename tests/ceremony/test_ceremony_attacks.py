"""What somebody at the ceremony's machine may try: to have it sign, use or hide what nobody reviewed."""

import base64
import json
import re
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ceremony_setting import HEAD, ROOT, SECOND, STORE, Operator, Setting, certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from config.ceremony import parse_ceremony
from config.errors import ConfigError
from config.profile import SHIPPED_PROFILES
from pkiserver.ceremony.inputs import read_ceremony
from pkiserver.ceremony.journal import Journal
from pkiserver.ceremony.transcript import as_text
from pkiserver.errors import ConflictError, NotAuthorizedError, PKIServerError, RefusedError
from pkiserver.signer.algorithms import KeySpec
from pkiserver.signer.software import SoftwareKeyStore
from protocols.asn1 import der

FORGED = b"Ceremony\n========\nquorum  32 of 32\n"


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path / "room")


def cut_before(monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    """Have the next ceremony end before this step is noted as done."""
    finish = Journal.finish

    def cut(self: Journal, of: str, what: str, value: bytes) -> None:
        if (of, what) == (kind, name):
            monkeypatch.setattr(Journal, "finish", finish)
            raise InterruptedError
        finish(self, of, what, value)

    monkeypatch.setattr(Journal, "finish", cut)


def cut_short(setting: Setting, output: Path) -> None:
    with pytest.raises(InterruptedError):
        setting.perform(output)


def altered(path: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))


def parts(*files: bytes) -> bytes:
    return der.sequence(*map(der.octet_string, files))


FORGERIES = {
    "text alone": FORGED,
    "unsigned": parts(FORGED, b"", b"%PDF-1.4", b""),
    "signed by another": parts(*(FORGED, Operator("Tuya").sign(FORGED)) * 2),
}


@pytest.mark.parametrize("which", FORGERIES)
def test_no_transcript_of_the_journal_is_signed_or_shown(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """The key of the transcript signs what was done here, never what somebody wrote into the journal."""
    cut_before(monkeypatch, "transcript", "transcript")
    cut_short(setting, tmp_path / "out")
    value = base64.b64encode(FORGERIES[which]).decode()
    line = {"kind": "transcript", "name": "transcript", "done": True, "value": value}
    altered(tmp_path / "out" / "journal.jsonl", lambda lines: [*lines, line])
    with pytest.raises(ConflictError, match="altered"):
        setting.perform(tmp_path / "out")
    assert not list((tmp_path / "out").glob("transcript.[tp]*"))


def test_a_transcript_tells_that_the_ceremony_was_taken_up(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was there before is used only where the journal says so: everybody is to see that it did."""
    cut_before(monkeypatch, "crl", "root")
    cut_short(setting, tmp_path / "out")
    setting.perform(tmp_path / "out")
    assert "taken up again" in (tmp_path / "out" / "transcript.txt").read_text()


def test_a_journal_that_was_put_there_shows(setting: Setting, tmp_path: Path) -> None:
    """A key of the attacker's, and a journal by which this ceremony had begun it."""
    store = SoftwareKeyStore(setting.folder / "keys", "a passphrase of the keys")
    store.generate("root", KeySpec.parse("ec:P-384"))
    store.close()
    with Journal(tmp_path / "out", read_ceremony(setting.path).sha256, datetime.now(UTC)) as journal:
        journal.begin("key", "root", b"")
    setting.perform(tmp_path / "out")
    assert "taken up again" in (tmp_path / "out" / "transcript.txt").read_text()


def test_no_folder_that_others_may_write(setting: Setting, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    with pytest.raises(ConflictError, match="others"):
        setting.perform(tmp_path / "out")
    assert not (setting.folder / "keys").exists()


def test_a_font_is_the_reviewed_one(setting: Setting, tmp_path: Path) -> None:
    """A font decides what is read: one with other shapes would show another PDF than the text."""
    pinned = setting.pinned("a.ttf", b"a font")
    setting.write(HEAD + STORE + "\n" + ROOT + f"font = {pinned}\n")
    (setting.folder / "a.ttf").write_bytes(b"another font")
    with pytest.raises(RefusedError, match="not the file that was reviewed"):
        setting.perform(tmp_path / "out")
    assert not (setting.folder / "keys").exists()


class TestProfiles:
    """What a certificate may do is in its profile: that of the program, or one that was signed for."""

    def test_one_of_the_file(self, setting: Setting, tmp_path: Path) -> None:
        text = (SHIPPED_PROFILES / "issuing-ca.toml").read_bytes() + b"# ours\n"
        pinned = setting.pinned("own-ca.toml", text)
        body = ROOT.replace('profile = "issuing-ca"', 'profile = "own-ca"')
        setting.write(HEAD + STORE + f"\n[profiles]\nown-ca = {pinned}\n" + body)
        setting.perform(tmp_path / "out")
        assert certificate(tmp_path / "out" / "citizen.cer").subject
        (setting.folder / "own-ca.toml").write_bytes(text + b"# otherwise\n")
        with pytest.raises(RefusedError, match="not the file that was reviewed"):
            setting.perform(tmp_path / "out")

    def test_none_in_the_place_of_one_that_is_shipped(self, setting: Setting) -> None:
        pinned = setting.pinned("root-ca.toml", b"")
        setting.write(HEAD + STORE + f"\n[profiles]\nroot-ca = {pinned}\n" + ROOT)
        with pytest.raises(RefusedError, match="a shipped profile"):
            setting.rehearse()


def test_no_page_of_the_transcript_goes_away_unseen(setting: Setting, tmp_path: Path) -> None:
    """Each says how many there are."""
    setting.perform(tmp_path / "out")
    pdf = (tmp_path / "out" / "transcript.pdf").read_bytes()
    streams = re.findall(rb"ASCII85Decode /FlateDecode.*?stream\r?\n(.*?)~>", pdf, re.DOTALL)
    pages = [zlib.decompress(base64.a85decode(one)) for one in streams]
    told = [re.findall(rb"page (\d+) of (\d+)", page) for page in pages]
    assert told == [[(b"%d" % number, b"%d" % len(pages))] for number in range(1, len(pages) + 1)]
    assert len(pages) > 1


def test_no_words_of_a_file_pass_for_lines_of_the_transcript(setting: Setting) -> None:
    """A line end, or a mark that turns the direction of writing, shows another text than there is."""
    setting.write(setting.path.read_text().replace('"Saran"]', '"Saran\\nquorum  3 of 3\\u202eX"]'))
    text = as_text(setting.rehearse())
    assert "\nquorum  3 of 3" not in text
    assert "\u202e" not in text
    assert "Saran\\nquorum  3 of 3\\u202eX" in text


def test_a_transcript_is_signed_by_a_key_of_this_ceremony(setting: Setting) -> None:
    """One that was there has signed other transcripts, which could be shown as of this one."""
    text = setting.path.read_text().replace(
        'transcript = { kind = "ec:P-256" }', 'transcript = { kind = "ec:P-256", existing = true }'
    )
    with pytest.raises(ConfigError, match=r"transcript\.certificate"):
        parse_ceremony(text.encode(), "root.toml")


@pytest.mark.parametrize(
    "signature",
    [b"-----BEGIN CMS-----\nA\n-----END CMS-----\n", b"-----BEGIN CMS-----\n\xff\n-----END CMS-----\n"],
)
def test_a_broken_signature_is_refused(setting: Setting, tmp_path: Path, signature: bytes) -> None:
    with pytest.raises(NotAuthorizedError):
        setting.perform(tmp_path / "out", [signature])


def test_a_deeply_nested_file_is_refused() -> None:
    with pytest.raises(ConfigError):
        parse_ceremony(b"a = " + b"[" * 100_000, "root.toml")


class TestFormerCRL:
    """A CRL of an issuer that had one before follows that one: nobody is forgotten, no number comes again."""

    CRL = '[crls.root]\nissuer = "root"\nnumber = {number}\nlifetime = "180d"\n{rest}'
    REVOKED = '[[crls.root.revoked]]\nserial = "0a1b"\ndate = 2026-11-22T00:00:00Z\nreason = "superseded"\n'
    NAMED = "previous = {former}\n"

    @pytest.fixture
    def first(self, setting: Setting, tmp_path: Path) -> Path:
        text = setting.path.read_text()
        setting.write(
            text.replace("number = 1\n", "number = 7\n").replace(
                "[transcript]", self.REVOKED + "[transcript]"
            )
        )
        setting.perform(tmp_path / "first")
        return tmp_path / "first"

    def second(self, setting: Setting, first: Path, number: int, rest: str, former: bytes) -> None:
        root = setting.pinned("first.cer", (first / "root.cer").read_bytes())
        rest = rest.format(former=setting.pinned("former.crl", former))
        crl = self.CRL.format(number=number, rest=rest)
        setting.write(HEAD + STORE + SECOND.format(root=root, more=crl))

    def test_one_that_follows(self, setting: Setting, first: Path, tmp_path: Path) -> None:
        former = (first / "root.crl").read_bytes()
        self.second(setting, first, 8, self.NAMED + self.REVOKED, former)
        setting.rehearse()
        setting.perform(tmp_path / "second")
        assert (tmp_path / "second" / "root.crl").exists()

    @pytest.mark.parametrize(
        ("number", "rest", "told"),
        [(8, "", "previous"), (7, NAMED + REVOKED, "number"), (8, NAMED, "0a1b")],
        ids=["not named", "its number again", "an entry forgotten"],
    )
    def test_one_that_does_not(
        self, setting: Setting, first: Path, number: int, rest: str, told: str
    ) -> None:
        self.second(setting, first, number, rest, (first / "root.crl").read_bytes())
        with pytest.raises((ConfigError, PKIServerError), match=told):
            setting.rehearse()

    @pytest.mark.parametrize("which", ["of another key", "no CRL"])
    def test_what_is_none_of_this_issuer(self, setting: Setting, first: Path, which: str) -> None:
        name = certificate(first / "root.cer").subject
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(name, now, now + timedelta(days=1))
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        other = builder.sign(ec.generate_private_key(ec.SECP384R1()), SHA384()).public_bytes(Encoding.DER)
        former = {"of another key": other, "no CRL": b"nothing"}[which]
        self.second(setting, first, 8, self.NAMED, former)
        with pytest.raises(RefusedError, match="former"):
            setting.rehearse()
