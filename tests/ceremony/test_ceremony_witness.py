"""The independent witness: named in the file and the transcript, who then signs the PDF."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ceremony_setting import HEAD, ROOT, SECOND, STORE, Operator, Setting
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ceremony.inputs import read_ceremony
from pkiserver.ceremony.performing import accept_witnessed
from pkiserver.ceremony.transcript import Section, as_text
from pkiserver.errors import ConflictError, NotAuthorizedError, NotFoundError, RefusedError


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path / "room")


def witnessed_by(setting: Setting, witness: Operator) -> None:
    pinned = setting.pinned("notary.pem", witness.certificate.public_bytes(Encoding.PEM))
    table = f'[witness]\nname = "{witness.name}"\nrole = "notary"\ncertificate = {pinned}\n'
    setting.write(HEAD + STORE + "\n" + ROOT + table)


def told(found: list[Section]) -> dict[str, str]:
    return next(dict(section.fields) for section in found if section.title == "Independent witness")


def test_the_transcript_names_the_witness_who_then_signs_it(setting: Setting, tmp_path: Path) -> None:
    notary, out = Operator("Notary"), tmp_path / "out"
    witnessed_by(setting, notary)
    assert told(setting.rehearse())["name"] == "Notary"
    setting.perform(out)
    text = (out / "transcript.txt").read_text()
    assert "Notary, notary  signature ____" in text
    signature = notary.sign((out / "transcript.pdf").read_bytes())
    kept = accept_witnessed(read_ceremony(setting.path), out, signature)
    assert kept.read_bytes() == signature
    accept_witnessed(read_ceremony(setting.path), out, signature)
    kept.write_bytes(b"another")
    with pytest.raises(ConflictError, match="nothing is overwritten"):
        accept_witnessed(read_ceremony(setting.path), out, signature)


@pytest.mark.parametrize("which", ["an operator's", "over the text", "none"])
def test_what_is_no_signature_of_the_witness(setting: Setting, tmp_path: Path, which: str) -> None:
    notary, out = Operator("Notary"), tmp_path / "out"
    witnessed_by(setting, notary)
    setting.perform(out)
    signature = {
        "an operator's": setting.operators[0].sign((out / "transcript.pdf").read_bytes()),
        "over the text": notary.sign((out / "transcript.txt").read_bytes()),
        "none": b"signed",
    }[which]
    with pytest.raises(NotAuthorizedError, match="Notary did not sign"):
        accept_witnessed(read_ceremony(setting.path), out, signature)
    assert not (out / "transcript.pdf.witness.p7s").exists()


def test_a_root_without_witness_says_so(setting: Setting, tmp_path: Path) -> None:
    assert "GEN-6.5.1-14" in told(setting.rehearse())["name"]
    setting.perform(tmp_path / "out")
    with pytest.raises(NotFoundError):
        accept_witnessed(read_ceremony(setting.path), tmp_path / "out", b"")


def test_an_operator_is_no_witness(setting: Setting, tmp_path: Path) -> None:
    """Not under another name and certificate either: it is the key that counts."""
    witnessed_by(setting, Operator("Notary", key=setting.operators[2].key))
    with pytest.raises(RefusedError, match="independent"):
        setting.perform(tmp_path / "out")
    assert not (setting.folder / "keys").exists()


def test_a_witness_whose_certificate_has_ended(setting: Setting, tmp_path: Path) -> None:
    witnessed_by(setting, Operator("Notary", begins=datetime.now(UTC) - timedelta(days=40)))
    with pytest.raises(NotAuthorizedError, match="Notary is not valid now"):
        setting.perform(tmp_path / "out")
    assert not (setting.folder / "keys").exists()


def test_where_no_root_is_made_none_is_asked_for(setting: Setting, tmp_path: Path) -> None:
    setting.perform(tmp_path / "first")
    pinned = setting.pinned("root.cer", (tmp_path / "first" / "root.cer").read_bytes())
    setting.write(HEAD + STORE + SECOND.format(root=pinned, more=""))
    found = setting.rehearse()
    assert told(found) == {"name": "none"}
    assert "GEN-6.5.1-14" not in as_text(found)
