"""Every kind of response, asked for by OpenSSL, before OpenSSL, GnuTLS and pkilint.

The requests are OpenSSL's own, so that what it compares (CertIDs, the nonce) is what it sent.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint.bin import lint_ocsp_response
from status_plane import status_plane

from config.status_policy import UnknownPolicy
from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.home import Home
from pkiserver.ra.lifecycle import REVOCATION_REASONS

if TYPE_CHECKING:
    from tests.conftest import Issue

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("ocsp-corpus")]

HASHES = ("sha1", "sha256", "sha384", "sha512")


@dataclass(frozen=True)
class Kind:
    """One kind of response: what OpenSSL is asked to ask for, and what it is to read in the answer.

    `names` are certificates of the corpus; a number is a serial that was not issued.
    """

    names: Sequence[str]
    says: Sequence[str]
    options: Sequence[str] = ("-no_nonce",)
    unknown: UnknownPolicy = "unauthorized"
    issuer: str = "infrastructure"

    def asking(self) -> list[str]:
        """Return the arguments of `openssl ocsp` that name the certificates."""
        md = [option for option in self.options if option[1:] in HASHES]
        rest = [option for option in self.options if option not in md]
        words = ["-issuer", f"{self.issuer}.pem", *rest]
        for name in self.names:
            words += [*md, "-serial", name] if name.isdigit() else [*md, "-cert", f"{name}.pem"]
        return words


# OpenSSL names no other reason; unspecified is left out (RFC 5280 §5.3.1).
NAMED = {"keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation"}
REVOKED = {f"revoked-{reason}": reason for reason in REVOCATION_REASONS}
CORPUS: dict[str, Kind] = {
    "good": Kind(["good"], ["good.pem: good"]),
    **{f"good by {name}": Kind(["good"], ["good.pem: good"], ["-no_nonce", f"-{name}"]) for name in HASHES},
    "good, of a CA": Kind(["citizen"], ["citizen.pem: good"], issuer="root"),
    "hold": Kind(["held"], ["held.pem: revoked", "Reason: certificateHold"]),
    **{
        name: Kind([name], [f"{name}.pem: revoked", *([f"Reason: {reason}"] if reason in NAMED else [])])
        for name, reason in REVOKED.items()
    },
    "unknown": Kind(["30583"], ["30583: unknown"], unknown="unknown"),
    "extended revoke": Kind(
        ["30583"],
        ["30583: revoked", "Reason: certificateHold", "Revocation Time: Jan  1 00:00:00 1970 GMT"],
        unknown="revoked",
    ),
    "nonce": Kind(["good"], ["good.pem: good"], ["-nonce"]),
    "nonce, by sha512": Kind(["good"], ["good.pem: good"], ["-nonce", "-sha512"]),
    "nonce, revoked": Kind(["revoked-keyCompromise"], ["keyCompromise.pem: revoked"], ["-nonce"]),
    "nonce, extended revoke": Kind(["30583"], ["30583: revoked"], ["-nonce"], unknown="revoked"),
    "several": Kind(
        ["good", "held", "revoked-superseded"],
        ["good.pem: good", "held.pem: revoked", "revoked-superseded.pem: revoked"],
    ),
    "several, with a nonce": Kind(["good", "held"], ["good.pem: good", "held.pem: revoked"], ["-nonce"]),
    "several, one unknown": Kind(
        ["good", "30583"], ["good.pem: good", "30583: unknown"], ["-nonce"], unknown="unknown"
    ),
    "several, one extended revoke": Kind(
        ["good", "30583"], ["good.pem: good", "30583: revoked"], unknown="revoked"
    ),
}


@pytest.fixture(scope="module")
def corpus(initialised_home: Path, issue: "Issue", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates, and for each kind `NUMBER.request` and `NUMBER.response`."""
    folder = tmp_path_factory.mktemp("corpus")
    home = Home(shutil.copytree(initialised_home, folder / "home"))
    asyncio.run(make(home, issue, folder))
    return folder


async def make(home: Home, issue: "Issue", folder: Path) -> None:
    async with open_core(home, Clock()) as core, status_plane(core, hash_names=HASHES) as plane:
        await plane.presigner.prepare()
        for authority in core.authorities:
            write_pem(folder, authority.name, authority.der)
        for name in ("good", "held", *REVOKED):
            record = await issue(core, f"{name.lower()}.example.mn")
            write_pem(folder, name, record.certificate)
            if name == "held":
                await plane.change("suspend", record)
            elif name != "good":
                await plane.change("revoke", record, reason=REVOKED[name])
        await plane.presigner.work()
        write_chain(core, folder)
        for number, kind in enumerate(CORPUS.values()):
            request = folder / f"{number}.request"
            await asyncio.to_thread(run, folder, "openssl", "ocsp", *kind.asking(), "-reqout", request)
            responder = plane.signing_responder(unknown=kind.unknown)
            reply = await plane.post(responder, request.read_bytes())
            (folder / f"{number}.response").write_bytes(reply.body)


def write_pem(folder: Path, name: str, der: bytes) -> None:
    (folder / f"{name}.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))


def write_chain(core: Core, folder: Path) -> None:
    chain = b"".join((folder / f"{authority.name}.pem").read_bytes() for authority in core.authorities)
    (folder / "all.pem").write_bytes(chain)


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


kinds = pytest.mark.parametrize(("number", "kind"), [*enumerate(CORPUS.values())], ids=CORPUS)


def openssl_reads(corpus: Path, response: str | Path, *about: str) -> str:
    """Return what OpenSSL says of a response, to the certificates named or to a request that was made.

    It takes one or the other; -no_nonce has it leave the nonce of the request as it was.
    """
    command = ["openssl", "ocsp", *about, "-no_nonce", "-respin", response, "-CAfile", "all.pem"]
    done = subprocess.run(command, cwd=corpus, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


@kinds
def test_openssl_accepts_and_reads_it(corpus: Path, number: int, kind: Kind) -> None:
    said = openssl_reads(corpus, f"{number}.response", *(word for word in kind.asking() if word != "-nonce"))
    assert "Response verify OK" in said
    assert [words for words in kind.says if words not in said] == []
    said = openssl_reads(corpus, f"{number}.response", "-reqin", f"{number}.request")
    assert "Response verify OK" in said
    assert "nonce" not in said.lower()  # neither missing nor another
    text = run(corpus, "openssl", "ocsp", "-respin", f"{number}.response", "-resp_text", "-noverify")
    assert ("OCSP Nonce" in text) == ("-nonce" in kind.options)


@kinds
def test_gnutls_accepts_it(corpus: Path, number: int, kind: Kind) -> None:
    files = [f"--load-response={number}.response", f"--load-trust={kind.issuer}.pem"]
    assert "Verifying OCSP Response: Success" in run(corpus, "ocsptool", "--verify-response", *files)


@kinds
def test_pkilint_finds_nothing(
    corpus: Path, number: int, kind: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lint_ocsp_response.main(["lint", "-s", "NOTICE", str(corpus / f"{number}.response")])
    assert (found, capsys.readouterr().out.strip()) == (0, "")


def test_a_changed_response_and_another_nonce_are_refused(corpus: Path, tmp_path: Path) -> None:
    """So that the tests above can fail."""
    response = bytearray((corpus / "0.response").read_bytes())
    response[response.index(b"\x18\x0f20") + 10] ^= 1  # a digit of producedAt
    (tmp_path / "changed").write_bytes(response)
    files = [f"--load-response={tmp_path / 'changed'}", "--load-trust=infrastructure.pem"]
    with pytest.raises(subprocess.CalledProcessError):
        run(corpus, "ocsptool", "--verify-response", *files)
    assert "Response Verify Failure" in openssl_reads(corpus, tmp_path / "changed", "-reqin", "0.request")
    nonce, other = (list(CORPUS).index(name) for name in ("nonce", "nonce, revoked"))
    assert "Response verify OK" in openssl_reads(corpus, f"{nonce}.response", "-reqin", f"{nonce}.request")
    assert "Nonce Verify error" in openssl_reads(corpus, f"{nonce}.response", "-reqin", f"{other}.request")
