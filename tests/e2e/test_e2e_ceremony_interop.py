"""A ceremony on a token for a home whose root is kept outside: commands as operators give them."""

import hashlib
import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from foreign_clients import tool, worked
from server_harness import PATIENCE_S, PROGRAM, done, initialised, run_program, running

from pkiserver.ceremony.inputs import read_ceremony
from pkiserver.ceremony.journal import Journal
from tests import faulty_token

pytestmark = pytest.mark.interop

ISSUING = ("citizen", "government", "infrastructure")
PIN = "correct-PIN-1"
HEAD = """title = "Root of 2026"
public_url = "http://pki.example.mn"
witnesses = ["Bold", "Тэмүүлэн"]

[store]
uri = "pkcs11:token=root-2026?module-path={module}&pin-source=file:{pin}"

[keys]
root = {{ kind = "ec:P-384" }}
transcript = {{ kind = "rsa:2048" }}

[certificates.root]
profile = "root-ca"
key = "root"
subject = "CN=Ceremony Root CA,O=National Certification Authority,C=MN"
lifetime = "20y"

[certificates.transcript]
profile = "ceremony-transcript"
issuer = "root"
key = "transcript"
subject = "CN=Ceremony of 2026"
lifetime = "1y"

[crls.root]
issuer = "root"
number = 1
lifetime = "180d"

[transcript]
certificate = "transcript"
"""
ISSUED = """
[certificates.{name}]
profile = "issuing-ca"
issuer = "root"
lifetime = "10y"
ocsp = false
request = {{ file = "{name}.csr", sha256 = "{sha256}" }}
"""


class Room:
    """The folder of the ceremony, a token, and two operators with openssl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        module = faulty_token.softhsm_module()
        if module is None:
            pytest.skip("SoftHSM is not installed (Debian package softhsm2)")
        self.configuration = faulty_token.softhsm_configuration(folder)
        faulty_token.init_token(self.configuration, "root-2026", PIN)
        pin = folder / "pin"
        pin.touch(mode=0o600)
        pin.write_text(PIN)
        self.text = HEAD.format(module=module, pin=pin.name)  # paths begin at the file's folder
        self.file = folder / "root.toml"
        lines = ["quorum = 2"]
        for name in ("bold", "saran"):
            self.openssl(
                *("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "30", "-subj", f"/CN={name}"),
                *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
            )
            lines += ["[[operators]]", f'name = "{name}"', f'certificate = "{name}.pem"']
        (folder / "operators.toml").write_text("\n".join(lines))

    def openssl(self, *words: str) -> str:
        run = subprocess.run(
            ["openssl", *words], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        return run.stdout + run.stderr

    def add_request(self, name: str, request: str) -> None:
        (self.folder / f"{name}.csr").write_text(request)
        self.text += ISSUED.format(name=name, sha256=hashlib.sha256(request.encode()).hexdigest())

    def add_witness(self) -> None:
        """Have the file name a notary, whose certificate is of another maker of certificates."""
        self.openssl(
            *(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-noenc",
                "-days",
                "30",
            ),
            *("-subj", "/CN=Notary", "-keyout", "notary.key", "-out", "notary.pem"),
        )
        sha256 = hashlib.sha256((self.folder / "notary.pem").read_bytes()).hexdigest()
        self.text += f"""
[witness]
name = "Notary"
role = "notary"
certificate = {{ file = "notary.pem", sha256 = "{sha256}" }}
"""

    def sign(self, *names: str) -> list[str]:
        """Have operators sign the file; return the options that name their signatures."""
        self.file.write_text(self.text)
        for name in names:
            self.openssl(
                *("cms", "-sign", "-binary", "-in", "root.toml", "-outform", "DER", "-out", f"{name}.p7s"),
                *("-signer", f"{name}.pem", "-inkey", f"{name}.key"),
            )
        return [word for name in names for word in ("--signature", f"{name}.p7s")]

    def ceremony(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Give the command in another folder than that of the file; of the latter are files in options."""
        words = [word if word.startswith("--") else self.folder / word for word in options]
        return subprocess.run(
            [PROGRAM, "ceremony", self.file, "--operators", self.folder / "operators.toml", *words],
            cwd=self.folder.parent,
            env=os.environ | {"SOFTHSM2_CONF": str(self.configuration)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def objects(self) -> int:
        return len(list((self.folder / "tokens").rglob("*.object")))


def test_the_whole_way(tmp_path: Path) -> None:
    home = initialised(tmp_path / "home", "--offline-root", "--public-url", "http://pki.example.mn")
    room = Room(tmp_path / "room")
    for name in ISSUING:
        room.add_request(name, done(run_program(home, "ca", "csr", name)))
    room.add_witness()
    signatures = room.sign("bold", "saran")

    before = room.objects()
    rehearsal = room.ceremony("--dry-run")
    assert rehearsal.returncode == 0, rehearsal.stderr
    assert "CN=Citizen CA" in rehearsal.stdout
    refused = room.ceremony("--signature", "bold.p7s", "--yes")
    assert refused.returncode == 1
    assert "1 of 2" in refused.stderr
    assert room.objects() == before

    performed = room.ceremony(*signatures, "--yes", "--transcript", "made")
    assert performed.returncode == 0, performed.stderr
    assert PIN not in performed.stderr + performed.stdout
    assert room.objects() > before
    made = room.folder / "made"
    for name in ("root", "transcript", *ISSUING):
        pem = worked(tool("openssl", "x509", "-inform", "DER", "-in", made / f"{name}.cer"))
        (made / f"{name}.pem").write_bytes(pem)
    for name in ISSUING:
        room.openssl("verify", "-x509_strict", "-CAfile", "made/root.pem", f"made/{name}.pem")
    assert "verify OK" in room.openssl(
        "crl", "-inform", "DER", "-in", "made/root.crl", "-CAfile", "made/root.pem", "-noout"
    )
    for name in ("transcript.txt", "transcript.pdf"):
        room.openssl(
            *("cms", "-verify", "-binary", "-inform", "DER", "-in", f"made/{name}.p7s"),
            *("-content", f"made/{name}", "-CAfile", "made/root.pem", "-out", os.devnull),
        )
    room.openssl(
        *("cms", "-sign", "-binary", "-in", "made/transcript.pdf", "-outform", "DER", "-out", "notary.p7s"),
        *("-signer", "notary.pem", "-inkey", "notary.key"),
    )
    witnessed = room.ceremony("--transcript", "made", "--witnessed", "notary.p7s")
    assert witnessed.returncode == 0, witnessed.stderr
    room.openssl(
        *("cms", "-verify", "-binary", "-inform", "DER", "-in", "made/transcript.pdf.witness.p7s"),
        *("-content", "made/transcript.pdf", "-CAfile", "notary.pem", "-out", os.devnull),
    )
    text = (made / "transcript.txt").read_text()
    assert "SoftHSM project, SoftHSM v2, serial number " in text
    for name in ISSUING:
        assert hashlib.sha256((made / f"{name}.cer").read_bytes()).hexdigest() in text

    for name in ("root", *ISSUING):
        done(run_program(home, "ca", "import", name, str(made / f"{name}.pem")))
    states = {
        row["name"]: row["state"] for row in json.loads(done(run_program(home, "ca", "list", "--json")))
    }
    assert states == {"root": "kept outside"} | dict.fromkeys(ISSUING, "ready")
    with running(home) as server:
        assert server.root_pem.read_bytes() == (made / "root.pem").read_bytes()


def test_nothing_is_made_a_second_time(tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    signatures = room.sign("bold", "saran")
    assert room.ceremony(*signatures, "--yes", "--transcript", "first").returncode == 0
    before = room.objects()
    again = room.ceremony(*signatures, "--yes", "--transcript", "second")
    assert again.returncode == 1
    assert "there is a key root already" in again.stderr
    assert room.objects() == before


@pytest.mark.parametrize("done_by", ["begun", "done"])
def test_no_key_is_taken_up_that_the_token_did_not_make(tmp_path: Path, done_by: str) -> None:
    """Whoever prepares a folder with a journal, and brings a key of their own into the token."""
    room = Room(tmp_path / "room")
    signatures = room.sign("bold", "saran")
    room.openssl(*("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "known.key"))
    room.openssl("pkey", "-in", "known.key", "-pubout", "-outform", "DER", "-out", "known.spki")
    import_key(room, "known.key")
    with Journal(room.folder / "made", read_ceremony(room.file).sha256, datetime.now(UTC)) as journal:
        journal.begin("key", "root", b"")
        if done_by == "done":
            journal.finish("key", "root", (room.folder / "known.spki").read_bytes())
    performed = room.ceremony(*signatures, "--yes", "--transcript", "made")
    assert performed.returncode == 1
    assert "was not made in this token" in performed.stderr
    assert not (room.folder / "made" / "root.cer").exists()


def import_key(room: Room, name: str) -> None:
    token = ("--token", "root-2026", "--pin", PIN, "--label", "root", "--id", "01")
    subprocess.run(
        ["softhsm2-util", "--import", str(room.folder / name), *token],
        env=os.environ | {"SOFTHSM2_CONF": str(room.configuration)},
        check=True,
        capture_output=True,
    )
