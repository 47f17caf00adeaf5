"""The foreign programs that the interoperability tests drive: curl, strongSwan's pki, openssl, pkilint."""

import json
import subprocess
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from server_harness import PATIENCE_S, Server, eventually

HARMLESS = frozenset({"NOTICE", "INFO", "DEBUG"})


def tool(*command: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a foreign program and return what it did."""
    return subprocess.run(
        list(map(str, command)), input=stdin or b"", capture_output=True, timeout=PATIENCE_S, check=False
    )


def worked(run: subprocess.CompletedProcess[bytes]) -> bytes:
    """Return the standard output of a program that must have succeeded."""
    assert run.returncode == 0, run.stderr.decode(errors="replace") + run.stdout.decode(errors="replace")
    return run.stdout


def curl(server: Server, *options: str | Path) -> bytes:
    """Return the body of an HTTPS request that must succeed; curl trusts the root alone."""
    return worked(tool("curl", "-sS", "--fail-with-body", "--cacert", server.root_pem, *options))


def save_certificate(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def openssl_ocsp(server: Server, issuer: str, certificate: Path, *digest: str) -> str:
    """Return what `openssl ocsp` says of a certificate, having verified the response: good, revoked, …

    It says the status once for each single response that it understands, all alike.
    """
    asked = ("-issuer", str(server.ca_pem(issuer)), *digest, "-cert", str(certificate))
    run = tool("openssl", "ocsp", *asked, "-url", f"{server.http_url}/ocsp", "-CAfile", server.chain_pem)
    output = worked(run).decode()
    assert "Response verify OK" in run.stderr.decode(), run.stderr
    (status,) = {line.removeprefix(f"{certificate}: ") for line in output.splitlines() if "pem: " in line}
    return status


def verify_with_crl(server: Server, issuer: str, certificate: Path, folder: Path) -> str:
    """Return what `openssl verify -crl_check` says with the CRL as served: OK, or why not."""
    crl = folder / f"{issuer}.crl.pem"
    served = worked(tool("curl", "-sS", "--fail", f"{server.http_url}/crl/{issuer}.crl"))
    crl.write_bytes(worked(tool("openssl", "crl", "-inform", "DER", stdin=served)))
    run = tool(
        *("openssl", "verify", "-crl_check", "-CRLfile", crl, "-CAfile", server.root_pem),
        *("-untrusted", server.ca_pem(issuer), certificate),
    )
    if run.returncode == 0:
        return run.stdout.decode().strip().removeprefix(f"{certificate}: ")
    return next(line for line in run.stderr.decode().splitlines() if "lookup:" in line).rpartition(": ")[2]


def expect_crl_verdict(server: Server, issuer: str, certificate: Path, verdict: str) -> None:
    eventually(
        lambda: verify_with_crl(server, issuer, certificate, certificate.parent) == verdict,
        f"openssl verify -crl_check to say {verdict}",
    )


def findings(linter: str, file: Path, *options: str) -> set[str]:
    """Return severity and code of everything a linter of pkilint found that is a warning or worse."""
    program = str(Path(sys.executable).with_name(linter))
    run = tool(program, "lint", "-s", "ALL", "-f", "JSON", *options, file)
    assert run.stdout, run.stderr
    return {
        f"{finding['severity']} {finding['code']}"
        for result in json.loads(run.stdout)["results"]
        for finding in result["finding_descriptions"]
        if finding["severity"] not in HARMLESS
    }
