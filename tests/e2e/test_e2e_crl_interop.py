"""Delta and sharded CRLs as `openssl verify` judges them: bases and deltas combined, scopes compared."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from client_messages import new_key
from cryptography import x509
from foreign_clients import findings, save_certificate, tool, worked
from server_harness import Server, copied, eventually, running

pytestmark = pytest.mark.interop

ISSUER = "infrastructure"
OPTIONS = {"crl_delta_period": '"1h"', "crl_shards": "2"}


@pytest.fixture
def server(pristine: Path, tmp_path: Path) -> Iterator[Server]:
    """A server whose authorities make deltas, in two shards each."""
    home = copied(pristine, tmp_path / "home")
    settings = home / "pkiserver.toml"
    text = settings.read_text()
    for key, value in OPTIONS.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    settings.write_text(text)
    with running(home) as running_server:
        yield running_server


def is_served(server: Server, name: str) -> bool:
    return server.get(f"/crl/{name}.crl").status == 200


def served(server: Server, name: str) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(server.get(f"/crl/{name}.crl").body)


def pem(server: Server, name: str, folder: Path) -> Path:
    file = folder / f"{name}.pem"
    crl = worked(tool("curl", "-sS", "--fail", f"{server.http_url}/crl/{name}.crl"))
    file.write_bytes(worked(tool("openssl", "crl", "-inform", "DER", stdin=crl)))
    return file


def verdict(server: Server, certificate: Path, *crls: Path) -> str:
    """`openssl verify` of one certificate by a full CRL and the delta to it."""
    options = [option for crl in crls for option in ("-CRLfile", str(crl))]
    run = tool(
        *("openssl", "verify", "-crl_check", "-extended_crl", "-use_deltas", "-partial_chain"),
        *("-trusted", server.ca_pem(ISSUER), *options, certificate),
    )
    said = (run.stdout + run.stderr).decode()
    found = re.search(r"error \d+ at 0 depth lookup: (.*)", said)
    return found.group(1) if found else "OK" if run.returncode == 0 else said


def shard_of(certificate: x509.Certificate) -> int:
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = point.full_name or ()
    found = re.search(rf"/crl/{ISSUER}-(\d)\.crl$", name.value)
    assert found
    return int(found.group(1))


def test_openssl_combines_base_and_delta_of_a_shard(server: Server, tmp_path: Path) -> None:
    certificate = server.device(new_key())
    file = save_certificate(tmp_path / "certificate.pem", certificate)
    mine, other = f"{ISSUER}-{shard_of(certificate)}", f"{ISSUER}-{3 - shard_of(certificate)}"
    eventually(partial(is_served, server, f"{mine}.delta"), "the first delta")
    base = pem(server, mine, tmp_path)

    def said(expected: dict[int, str | None]) -> bool:
        delta = served(server, f"{mine}.delta")
        return {entry.serial_number: reason(entry) for entry in delta} == expected

    serial = certificate.serial_number
    assert verdict(server, file, base, pem(server, f"{mine}.delta", tmp_path)) == "OK"
    server.suspend(certificate)
    eventually(lambda: said({serial: "certificateHold"}), "the delta to tell of the hold")
    assert verdict(server, file, base, pem(server, f"{mine}.delta", tmp_path)) == "certificate revoked"

    server.command("crl.publish", ca=ISSUER)  # a full CRL that has the hold
    held = pem(server, mine, tmp_path)
    server.restore(certificate)
    eventually(lambda: said({serial: "removeFromCRL"}), "the delta to remove it")
    assert verdict(server, file, held, pem(server, f"{mine}.delta", tmp_path)) == "OK"

    server.revoke(certificate, "keyCompromise")
    eventually(lambda: said({serial: "keyCompromise"}), "the delta to tell of the revocation")
    delta = pem(server, f"{mine}.delta", tmp_path)
    assert verdict(server, file, held, delta) == "certificate revoked"
    # The CRL of the other shard is none for this certificate.
    assert verdict(server, file, pem(server, other, tmp_path)) == "different CRL scope"
    # Those of all certificates have no such limit.
    tells = partial(tells_of, server, f"{ISSUER}.delta", serial)
    eventually(tells, "the delta of all certificates to tell of the revocation")
    everything = (pem(server, ISSUER, tmp_path), pem(server, f"{ISSUER}.delta", tmp_path))
    assert verdict(server, file, *everything) == "certificate revoked"


def tells_of(server: Server, name: str, serial: int) -> bool:
    return serial in {entry.serial_number for entry in served(server, name)}


def test_pkilint_accepts_deltas_and_shards(server: Server, tmp_path: Path) -> None:
    certificate = server.device(new_key())
    name = f"{ISSUER}-{shard_of(certificate)}"
    eventually(partial(is_served, server, f"{name}.delta"), "the first delta")
    server.revoke(certificate, "superseded")
    eventually(lambda: len(list(served(server, f"{name}.delta"))) == 1, "the delta to tell of it")
    for stem in (name, f"{name}.delta", f"{ISSUER}.delta"):
        file = tmp_path / f"{stem}.crl"
        file.write_bytes(server.get(f"/crl/{stem}.crl").body)
        assert findings("lint_crl", file, "-p", "PKIX", "-t", "CRL") == set()


def reason(entry: x509.RevokedCertificate) -> str | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return None
