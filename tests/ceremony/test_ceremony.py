"""Ceremonies with software keys: the quorum, the rehearsal, the products, and what a crash leaves."""

import json
import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ceremony_setting import HEAD, ROOT, SECOND, STORE, Operator, Setting, certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.ceremony.journal import Journal
from pkiserver.errors import ConflictError, NotAuthorizedError, PKIServerError, RefusedError

FILES = {
    *("citizen.csr", "root.cer", "citizen.cer", "transcript.cer", "root.crl", "journal.jsonl"),
    *("transcript.txt", "transcript.txt.p7s", "transcript.pdf", "transcript.pdf.p7s"),
}


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path / "room")


class TestQuorum:
    def test_enough(self, setting: Setting, tmp_path: Path) -> None:
        setting.perform(tmp_path / "out")
        text = (tmp_path / "out" / "transcript.txt").read_text()
        assert "2 of 3" in text
        assert "signed by Bold" in text
        assert "signed by Tuya" not in text

    @pytest.mark.parametrize("which", ["none", "one", "one twice", "a stranger", "another file", "no CMS"])
    def test_not_enough_and_no_key_is_made(self, setting: Setting, tmp_path: Path, which: str) -> None:
        content, (bold, saran, _) = setting.path.read_bytes(), setting.operators
        signatures = {
            "none": [],
            "one": [bold.sign(content)],
            "one twice": [bold.sign(content), bold.sign(content)],
            "a stranger": [bold.sign(content), saran.sign(content), Operator("Bold").sign(content)],
            "another file": [bold.sign(content), saran.sign(content + b"\n")],
            "no CMS": [bold.sign(content), b"signed, Saran"],
        }[which]
        with pytest.raises(NotAuthorizedError):
            setting.perform(tmp_path / "out", signatures)
        assert not (setting.folder / "keys").exists()
        assert not (tmp_path / "out").exists()

    def test_a_certificate_that_has_ended(self, setting: Setting, tmp_path: Path) -> None:
        old = Operator("Saran", begins=datetime.now(UTC) - timedelta(days=40))
        setting.register([setting.operators[0], old])
        content = setting.path.read_bytes()
        with pytest.raises(NotAuthorizedError, match="Saran is not valid now"):
            setting.perform(tmp_path / "out", [setting.operators[0].sign(content), old.sign(content)])

    def test_one_key_under_two_names(self, setting: Setting, tmp_path: Path) -> None:
        bold = setting.operators[0]
        setting.register([bold, Operator("Saran", key=bold.key)])
        with pytest.raises(RefusedError, match="stands twice"):
            setting.perform(tmp_path / "out")


class TestRehearsal:
    def test_it_shows_every_certificate_and_touches_nothing(self, setting: Setting) -> None:
        before = sorted(os.listdir(setting.folder))
        found = {section.title: dict(section.fields) for section in setting.rehearse()}
        assert found["certificate root.cer"]["basicConstraints, critical"] == "CA"
        assert found["certificate citizen.cer"]["issuer"] == "CN=Root CA,O=Agency,C=MN"
        assert len(found["certificate citizen.cer"]["SHA-256 of what is signed"]) == 64
        assert found["crl root.crl"]["number"] == "1"
        assert "REHEARSAL" in found["Ceremony"]["kind"]
        assert sorted(os.listdir(setting.folder)) == before

    def test_it_says_what_the_ceremony_will(self, setting: Setting, tmp_path: Path) -> None:
        rehearsed = {section.title: [name for name, _ in section.fields] for section in setting.rehearse()}
        made = setting.perform(tmp_path / "out")
        assert [title for title in rehearsed if title.startswith(("certificate", "request", "crl"))] == [
            f"{product.kind} {product.name}{suffix}"
            for product, suffix in zip(made, (".csr", ".cer", ".cer", ".cer", ".crl"), strict=True)
        ]


class TestProducts:
    def test_files_and_chain(self, setting: Setting, tmp_path: Path) -> None:
        setting.perform(tmp_path / "out")
        assert set(os.listdir(tmp_path / "out")) == FILES
        root, citizen = (certificate(tmp_path / "out" / f"{name}.cer") for name in ("root", "citizen"))
        root.verify_directly_issued_by(root)
        citizen.verify_directly_issued_by(root)
        crl = x509.load_der_x509_crl((tmp_path / "out" / "root.crl").read_bytes())
        key = root.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert crl.is_signature_valid(key)
        request = x509.load_der_x509_csr((tmp_path / "out" / "citizen.csr").read_bytes())
        assert request.is_signature_valid
        assert request.public_key() == citizen.public_key()
        assert (tmp_path / "out" / "transcript.pdf").read_bytes().startswith(b"%PDF-")

    def test_a_second_ceremony_with_the_first_one_s_root(self, setting: Setting, tmp_path: Path) -> None:
        """A request from elsewhere, a cross-certificate and the last CRL, by a key that is there."""
        setting.perform(tmp_path / "first")
        root = (tmp_path / "first" / "root.cer").read_bytes()
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Other CA")])
        request = x509.CertificateSigningRequestBuilder(name).sign(key, SHA256()).public_bytes(Encoding.PEM)
        other = Operator("Partner Root", key=key).certificate.public_bytes(Encoding.DER)
        more = f"""
[certificates.other]
profile = "issuing-ca"
issuer = "root"
lifetime = "5y"
request = {setting.pinned("other.csr", request)}
[certificates.cross]
profile = "root-link"
issuer = "root"
lifetime = "5y"
certificate = {setting.pinned("partner.cer", other)}
[crls.last]
issuer = "root"
number = 2
previous = {setting.pinned("first.crl", (tmp_path / "first" / "root.crl").read_bytes())}
last = true
revoked = [{{ serial = "0a1b", date = 2026-11-22T00:00:00Z, reason = "superseded" }}]
"""
        text = SECOND.format(root=setting.pinned("first-root.cer", root), more=more)
        setting.write(HEAD + STORE + text)
        setting.rehearse()
        setting.perform(tmp_path / "second")
        issuer = certificate(tmp_path / "first" / "root.cer")
        for made, subject in (("other", "CN=Other CA"), ("cross", "CN=Partner Root")):
            found = certificate(tmp_path / "second" / f"{made}.cer")
            found.verify_directly_issued_by(issuer)
            assert found.subject.rfc4514_string() == subject
            assert found.public_key() == key.public_key()
        crl = x509.load_der_x509_crl((tmp_path / "second" / "last.crl").read_bytes())
        assert crl.next_update_utc == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        assert [entry.serial_number for entry in crl] == [0x0A1B]

    def test_a_file_that_is_not_the_reviewed_one(self, setting: Setting, tmp_path: Path) -> None:
        setting.perform(tmp_path / "first")
        pinned = setting.pinned("r.cer", (tmp_path / "first" / "root.cer").read_bytes())
        text = ROOT.replace('root = { kind = "ec:P-384" }', 'root = { kind = "ec:P-384", existing = true }')
        text = text.replace(
            "[requests.citizen]", f'[known.old]\ncertificate = {pinned}\nkey = "root"\n[requests.citizen]'
        )
        setting.write(HEAD + STORE + text)
        (setting.folder / "r.cer").write_bytes(b"another")
        with pytest.raises(RefusedError, match="not the file that was reviewed"):
            setting.perform(tmp_path / "second")

    def test_a_request_that_is_not_signed_by_its_key(self, setting: Setting) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Other CA")])
        request = x509.CertificateSigningRequestBuilder(name).sign(key, SHA256()).public_bytes(Encoding.DER)
        spoilt = request[:-1] + bytes([request[-1] ^ 1])
        pinned = setting.pinned("other.csr", spoilt)
        more = '[certificates.other]\nprofile = "issuing-ca"\nissuer = "root"\nlifetime = "1y"\n'
        more += f"request = {pinned}\n"
        setting.write(HEAD + STORE + "\n" + ROOT + more)
        with pytest.raises(RefusedError, match="not signed by the key"):
            setting.rehearse()

    def test_a_certificate_that_would_outlive_its_issuer(self, setting: Setting) -> None:
        setting.write(HEAD + STORE + "\n" + ROOT.replace('lifetime = "10y"', 'lifetime = "30y"'))
        with pytest.raises(RefusedError, match="outlive"):
            setting.rehearse()


class TestOnce:
    def test_no_key_is_made_where_one_is(self, setting: Setting, tmp_path: Path) -> None:
        setting.perform(tmp_path / "first")
        before = {path.name: path.read_bytes() for path in (setting.folder / "keys").iterdir()}
        with pytest.raises(ConflictError, match="there is a key root already"):
            setting.perform(tmp_path / "second")
        assert {path.name: path.read_bytes() for path in (setting.folder / "keys").iterdir()} == before

    def test_a_key_that_is_of_another_kind(self, setting: Setting, tmp_path: Path) -> None:
        setting.perform(tmp_path / "first")
        pinned = setting.pinned("r.cer", (tmp_path / "first" / "root.cer").read_bytes())
        text = ROOT.replace('root = { kind = "ec:P-384" }', 'root = { kind = "rsa:3072", existing = true }')
        text = text.replace("citizen = {", "citizen-2 = {").replace('key = "citizen"', 'key = "citizen-2"')
        text = text.replace("transcript = {", "second = {").replace('key = "transcript"', 'key = "second"')
        known = f'[known.old]\ncertificate = {pinned}\nkey = "root"\n'
        setting.write(HEAD + STORE + text.replace("[requests.citizen]", known + "[requests.citizen]"))
        with pytest.raises(ConflictError, match="ec:P-384, not rsa:3072"):
            setting.perform(tmp_path / "second")

    def test_not_into_a_folder_of_other_things(self, setting: Setting) -> None:
        with pytest.raises(ConflictError, match="other things"):
            setting.perform(setting.folder)
        assert not (setting.folder / "keys").exists()

    def test_the_same_again_changes_nothing(self, setting: Setting, tmp_path: Path) -> None:
        setting.perform(tmp_path / "out")
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        setting.perform(tmp_path / "out")
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before

    def test_another_file_in_the_same_folder(self, setting: Setting, tmp_path: Path) -> None:
        setting.perform(tmp_path / "out")
        setting.write(setting.path.read_text() + "# more\n")
        with pytest.raises(ConflictError, match="another file"):
            setting.perform(tmp_path / "out")

    def test_a_product_that_was_replaced(self, setting: Setting, tmp_path: Path) -> None:
        setting.perform(tmp_path / "out")
        (tmp_path / "out" / "root.cer").write_bytes(b"another")
        with pytest.raises(ConflictError, match="nothing is overwritten"):
            setting.perform(tmp_path / "out")
        assert (tmp_path / "out" / "root.cer").read_bytes() == b"another"


class PowerCutError(Exception):
    """All ends here."""


@pytest.mark.parametrize("partly", [False, True], ids=["before the line", "in the midst of the line"])
def test_it_is_taken_up_wherever_it_was_cut(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partly: bool
) -> None:
    """Each line of the journal is once the one that was not written: its key made, its TBS signed already."""
    write, left = Journal._write, 0

    def cut(self: Journal, line: dict[str, Any]) -> None:
        nonlocal left
        if left == 0:
            if partly:
                os.write(self._descriptor, json.dumps(line).encode()[:-5])
            raise PowerCutError
        left -= 1
        write(self, line)

    monkeypatch.setattr(Journal, "_write", cut)
    cuts, done = 0, False
    while not done:
        left = 1 + bool(cuts)  # each attempt comes one line further; it notes that it takes the ceremony up
        try:
            setting.perform(tmp_path / "out")
            done = True
        except PowerCutError:
            cuts += 1
    assert cuts == 17  # 1 beginning, 2 of each of 3 keys and 5 products, 1 of the transcript; less the last
    assert set(os.listdir(tmp_path / "out")) == FILES
    assert sorted(os.listdir(setting.folder / "keys")) == ["citizen.pem", "root.pem", "transcript.pem"]
    root, citizen = (certificate(tmp_path / "out" / f"{name}.cer") for name in ("root", "citizen"))
    citizen.verify_directly_issued_by(root)
    begun = [json.loads(line) for line in (tmp_path / "out" / "journal.jsonl").read_text().splitlines()[1:]]
    names = [(line["kind"], line["name"], line["done"]) for line in begun]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: {**line, "value": "AAAA"},
        lambda line: {"kind": line["kind"]},
        lambda line: [line],
        lambda line: {**line, "value": "*"},
    ],
)
@pytest.mark.parametrize("which", ["key", "certificate", "crl"])
def test_an_altered_journal_makes_nothing(setting: Setting, tmp_path: Path, which: str, spoil: Any) -> None:
    setting.perform(tmp_path / "out")
    path = tmp_path / "out" / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    number = next(i for i, line in enumerate(lines) if line.get("kind") == which and line["done"])
    lines[number] = spoil(lines[number])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(PKIServerError):
        setting.perform(tmp_path / "out")


ODD = (b"[" * 100_000 + b"\n", b'{"file": 1}\n', b"[1]\n", b"null\n", b"\n")


@given(st.binary(max_size=80) | st.sampled_from(ODD))
@settings(deadline=None)
def test_no_octets_break_the_journal(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "journal.jsonl").write_bytes(data)
        with suppress(ConflictError), Journal(Path(folder), "00", datetime.now(UTC)) as journal:
            assert b"\n" not in data  # a line that was not finished counts for nothing
            assert journal.begun("key", "root") is None


def test_two_at_once(setting: Setting, tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "out", "00", datetime.now(UTC)),
        pytest.raises(ConflictError, match="another process"),
    ):
        setting.perform(tmp_path / "out")
