"""`openssl cmp` as a client of a running server: the system's, and a newer one where it was unpacked."""

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from client_messages import Credential
from cryptography import x509
from foreign_clients import tool, worked
from server_harness import Server

from tests.cmp_messages import require_standard

PROGRAMS = {
    "system": shutil.which("openssl") or "",
    "newer": str(Path(sys.executable).parent.parent / "newer-openssl" / "openssl"),  # by .ci/newer-openssl
}
CMP_PATH = "/.well-known/cmp"
MAX_RESPONSES = 40  # of one run that are kept; a poll a second makes the most of them


def program(name: str) -> str:
    """Return the path of an openssl that knows the command cmp; skips the test where there is none."""
    found = PROGRAMS[name]
    if not Path(found).is_file() or tool(found, "cmp", "-help").returncode != 0:
        why = "openssl 3.0 or later" if name == "system" else ".ci/newer-openssl to have found one"
        pytest.skip(f"needs {why}")
    return found


@dataclass(frozen=True)
class OpenSSL:
    """One client with its files. Whatever the server answers it is read by an independent decoder, too."""

    server: Server
    folder: Path
    program: str
    name: str  # of the device: a holder is its subject, and has so many certificates a day
    door: str = "http"

    @property
    def identity(self) -> str:
        return f"CN={self.name},O=Example"

    @property
    def subject(self) -> str:
        """The same as openssl writes it."""
        return f"/O=Example/CN={self.name}"

    @property
    def is_newer(self) -> bool:
        return self.program == PROGRAMS["newer"]

    def over(self, door: str) -> "OpenSSL":
        return replace(self, door=door)

    def credential(self, profile: str = "device", subject: str = "", uses: int = 1) -> Credential:
        return self.server.credential(profile, subject or self.identity, uses=uses, use="cmp")

    def key(self, name: str, *kind: str) -> Path:
        path = self.folder / f"{name}.key"
        kind = kind or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        worked(tool(self.program, "genpkey", *kind, "-out", path))
        return path

    def request(self, name: str, key: Path) -> Path:
        """Return a PKCS #10 request."""
        path = self.folder / f"{name}.csr"
        worked(
            tool(
                self.program,
                "req",
                "-new",
                "-config",
                "/dev/null",
                "-key",
                key,
                "-subj",
                self.subject,
                "-out",
                path,
            )
        )
        return path

    def run(self, *arguments: str | Path, path: str = CMP_PATH) -> tuple[bool, str]:
        """Run `openssl cmp`; return whether it succeeded, and what it said."""
        tls = ("-tls_used", "-tls_trusted", self.server.root_pem) if self.door == "https" else ()
        kept = [self.folder / f"response-{number}" for number in range(MAX_RESPONSES)]
        for response in kept:
            response.unlink(missing_ok=True)
        trusted = () if "-srvcert" in arguments else ("-trusted", self.server.root_pem)
        done = tool(
            *(self.program, "cmp", "-config", "", "-server", f"127.0.0.1:{self.server.port(self.door)}"),
            *("-path", path, *tls, *trusted, "-verbosity", "6", "-rspout", ",".join(map(str, kept))),
            *arguments,
        )
        for response in kept:
            if response.exists():
                require_standard(response.read_bytes())
        return done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")

    def does(self, *arguments: str | Path, path: str = CMP_PATH) -> str:
        """Return what is said by a command that must succeed."""
        done, said = self.run(*arguments, path=path)
        assert done, said
        return said

    def fails(self, *arguments: str | Path, path: str = CMP_PATH) -> str:
        """Return what is said by a command that must not succeed."""
        done, said = self.run("-certout", "/dev/null", *arguments, path=path)
        assert not done, said
        return said

    def enroll(
        self, command: str, name: str, *arguments: str | Path, path: str = CMP_PATH
    ) -> x509.Certificate:
        """Return the certificate of a command that must succeed; openssl has verified its chain."""
        made = self.folder / f"{name}.pem"
        made.unlink(missing_ok=True)
        self.does("-cmd", command, "-certout", made, *arguments, path=path)
        return self.certificate(name)

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / f"{name}.pem").read_bytes())

    def secret(self, credential: Credential | None = None) -> tuple[str, ...]:
        """Return the options of who knows a secret, a new one unless it is given."""
        known = credential or self.credential()
        return ("-ref", known.reference, "-secret", f"pass:{known.secret}")

    def asked(self, name: str = "asked") -> tuple[str | Path, ...]:
        """Return the options for a certificate of a new key."""
        return ("-newkey", self.key(name), "-subject", self.subject)

    def holder(self, name: str = "held") -> tuple[str | Path, ...]:
        """Return the options of who holds a new certificate."""
        asked = self.asked(name)
        self.enroll("ir", name, *self.secret(), *asked)
        return ("-cert", self.folder / f"{name}.pem", "-key", asked[1])
