"""The configuration of OCSP, as a running server and a foreign client see it."""

import asyncio
import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.app import running_server
from pkiserver.clock import Clock
from pkiserver.home import Home

LISTEN = {"http": ["127.0.0.1:0"], "https": ["127.0.0.1:0"], "metrics": ["127.0.0.1:0"]}


def configure(home: Home, *changes: tuple[str, str]) -> None:
    text = home.configuration.read_text()
    for old, new in changes:
        assert f"\n{old}\n" in text
        text = text.replace(f"\n{old}\n", f"\n{new}\n")
    home.configuration.write_text(text)


async def openssl(home: Home, folder: Path, port: int, *asked: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        ["openssl", "ocsp", "-issuer", home.public / "ca" / "root.pem", *asked,
         "-url", f"http://127.0.0.1:{port}/ocsp", "-CAfile", home.public / "ca" / "chain.pem"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout + done.stderr


def valid_for(said: str) -> timedelta:
    """From thisUpdate to nextUpdate, as openssl tells them."""
    this_update, next_update = (
        datetime.strptime(moment, "%b %d %H:%M:%S %Y GMT")  # noqa: DTZ007 - both are UTC, and are subtracted
        for moment in re.findall(r"(?:This|Next) Update: (.*)", said)
    )
    return next_update - this_update


@pytest.mark.interop
async def test_what_is_configured_is_done(home: Home, tmp_path: Path) -> None:
    configure(
        home,
        ('nonce = "ignore"', 'nonce = "sign"'),
        ('hashes = ["sha1", "sha256"]', 'hashes = ["sha1", "sha384"]'),
        ('ocsp_unknown = "preset"', 'ocsp_unknown = "revoked"'),
        ('ocsp_validity = "preset"', 'ocsp_validity = "4h"'),
    )
    async with running_server(home, Clock(), LISTEN) as server:
        [(_, port)] = server.addresses.http
        citizen = x509.load_der_x509_certificate((home.public / "ca" / "citizen.cer").read_bytes())
        (tmp_path / "citizen.pem").write_bytes(citizen.public_bytes(Encoding.PEM))
        for options in ((), ("-sha384",)):
            said = await openssl(home, tmp_path, port, *options, "-cert", "citizen.pem", "-nonce")
            assert "Response verify OK" in said
            assert "citizen.pem: good" in said
            assert "nonce" not in said
            assert valid_for(said) == timedelta(hours=4)
            said = await openssl(home, tmp_path, port, *options, "-cert", "citizen.pem", "-no_nonce")
            assert "citizen.pem: good" in said
            assert valid_for(said) == timedelta(hours=4)
        said = await openssl(home, tmp_path, port, "-sha256", "-cert", "citizen.pem", "-no_nonce")
        assert "unauthorized (6)" in said
        said = await openssl(home, tmp_path, port, "-serial", "30583", "-cert", "citizen.pem")
        assert "30583: revoked" in said
        assert "Revocation Time: Jan  1 00:00:00 1970 GMT" in said
        assert "citizen.pem: good" in said
