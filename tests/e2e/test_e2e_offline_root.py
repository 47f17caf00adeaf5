"""A hierarchy under a root that is kept outside: openssl plays the outside root."""

import json
from pathlib import Path

import pytest
from client_messages import new_key
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_clients import expect_crl_verdict, openssl_ocsp, save_certificate, tool, worked
from server_harness import done, initialised, run_program, running

pytestmark = pytest.mark.interop

ISSUING = ("citizen", "government", "infrastructure")
ROOT_NAME = "/C=MN/O=National Certification Authority/CN=Outside Root CA"
ROOT_EXTENSIONS = (
    "basicConstraints=critical,CA:true",
    "keyUsage=critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier=hash",
)
ISSUING_EXTENSIONS = """basicConstraints=critical,CA:true,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


class OutsideRoot:
    """A root certificate and key in a folder, used by the openssl command."""

    def __init__(self, folder: Path) -> None:
        self.key, self.certificate = folder / "root.key", folder / "root.pem"
        self._extensions = folder / "issuing.ext"
        self._extensions.write_text(ISSUING_EXTENSIONS)
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes")
        extensions = [part for extension in ROOT_EXTENSIONS for part in ("-addext", extension)]
        named = ("-x509", "-days", "7300", "-subj", ROOT_NAME)
        out = ("-keyout", self.key, "-out", self.certificate)
        worked(tool("openssl", "req", *curve, *named, *extensions, *out))

    def sign(self, request: str, *, days: int = 3650) -> bytes:
        """Return the certificate (PEM) that the root gives to an authority's request."""
        return worked(
            tool(
                *("openssl", "x509", "-req", "-days", str(days), "-sha384"),
                *("-CA", self.certificate, "-CAkey", self.key, "-extfile", self._extensions),
                stdin=request.encode(),
            )
        )


def test_the_whole_way(tmp_path: Path) -> None:
    outside = OutsideRoot(tmp_path)
    home = initialised(tmp_path / "home", "--offline-root")

    early = run_program(home, "serve")
    assert early.returncode == 1
    assert len(early.stderr.splitlines()) == 1
    waiting = json.loads(done(run_program(home, "ca", "list", "--json")))
    assert {row["name"] for row in waiting if row["state"] != "ready"} == {"root", *ISSUING}

    done(run_program(home, "ca", "import", "root", str(outside.certificate)))
    for name in ISSUING:
        certificate = tmp_path / f"{name}.pem"
        certificate.write_bytes(outside.sign(done(run_program(home, "ca", "csr", name))))
        done(run_program(home, "ca", "import", name, str(certificate)))
    states = {
        row["name"]: row["state"] for row in json.loads(done(run_program(home, "ca", "list", "--json")))
    }
    assert states == {"root": "kept outside"} | dict.fromkeys(ISSUING, "ready")

    with running(home) as server:
        assert server.root_pem.read_bytes() == outside.certificate.read_bytes()
        device = server.device(new_key())
        file = save_certificate(tmp_path / "device.pem", device)
        server.shows(device, "good")
        assert openssl_ocsp(server, "infrastructure", file) == "good"
        expect_crl_verdict(server, "infrastructure", file, "OK")
        server.revoke(device)
        server.shows(device, "revoked")
        expect_crl_verdict(server, "infrastructure", file, "certificate revoked")


def test_new_keys_under_it_and_of_its_own(tmp_path: Path) -> None:
    """What a roll-over needs from outside is asked for and imported as at the beginning."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    outside, home = OutsideRoot(tmp_path / "old"), initialised(tmp_path / "home", "--offline-root")
    done(run_program(home, "ca", "import", "root", str(outside.certificate)))

    def certify(root: OutsideRoot, name: str) -> None:
        certificate = tmp_path / f"{name}.pem"
        certificate.write_bytes(root.sign(done(run_program(home, "ca", "csr", name))))
        done(run_program(home, "ca", "import", name, str(certificate)))

    def step(name: str, option: str) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = json.loads(
            done(run_program(home, "ca", "rollover", name, option, "--json"))
        )
        return rows

    for name in ISSUING:
        certify(outside, name)
    assert "ca import infrastructure.2 FILE" in step("infrastructure", "--prepare")[-1]["next"]
    early = run_program(home, "ca", "rollover", "infrastructure", "--publish")
    assert "ca csr infrastructure.2" in early.stderr
    certify(outside, "infrastructure.2")
    new = OutsideRoot(tmp_path / "new")
    step("root", "--prepare")
    done(run_program(home, "ca", "import", "root.2", str(new.certificate)))
    for name in ("infrastructure", "root"):
        step(name, "--publish")
        assert [row["state"] for row in step(name, "--activate")] == ["retiring", "active"]
    step("citizen", "--prepare")
    certify(new, "citizen.2")
    with running(home) as server:
        device = server.device(new_key())
        device.verify_directly_issued_by(server.ca("infrastructure.2"))
        server.shows(device, "good", "infrastructure.2")
        assert server.ca("root.2").public_bytes(Encoding.PEM) == new.certificate.read_bytes()


def test_foreign_certificates_are_not_imported(tmp_path: Path) -> None:
    outside = OutsideRoot(tmp_path)
    home = initialised(tmp_path / "home", "--offline-root")
    request = done(run_program(home, "ca", "csr", "citizen"))
    citizen = tmp_path / "citizen.pem"
    citizen.write_bytes(outside.sign(request))
    assert_refused(home, "citizen", citizen)  # nobody is above it yet
    done(run_program(home, "ca", "import", "root", str(outside.certificate)))
    (tmp_path / "second").mkdir()
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(OutsideRoot(tmp_path / "second").sign(request))
    assert_refused(home, "citizen", stranger)  # another root's
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"\xff\x00 no certificate")
    assert_refused(home, "citizen", garbage)


def assert_refused(home: Path, name: str, file: Path) -> None:
    run = run_program(home, "ca", "import", name, str(file))
    assert run.returncode == 1
    assert run.stderr.startswith("Error: ")
    assert len(run.stderr.splitlines()) == 1
