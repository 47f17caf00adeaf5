"""The command by which an operator deletes a key does so, and deletes no other."""

import asyncio
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from pkiserver.signer.algorithms import KeySpec
from pkiserver.signer.client import Signer
from pkiserver.signer.removal import removal_command
from pkiserver.signer.settings import SignerSettings

SPEC = KeySpec.parse("ec:P-256")
LABELS = ("ca-citizen", "ca-citizen.2", "ca-citizen.20")


@pytest.mark.interop
async def test_one_key_is_deleted(
    settings: SignerSettings, secret_of: Callable[[SignerSettings], str]
) -> None:
    if settings.store == "pkcs11" and shutil.which("p11tool") is None:
        pytest.skip("p11tool is not installed (Debian package gnutls-bin)")
    signer = Signer(settings)
    await signer.start()
    try:
        for label in LABELS:
            await signer.generate(label, SPEC)
        command = shlex.split(signer.removal_command("ca-citizen.2"))
    finally:
        await signer.close()
    batch = ["--batch"] if settings.store == "pkcs11" else []  # it asks, else
    environment = os.environ | {"GNUTLS_PIN": secret_of(settings)}
    await asyncio.to_thread(do, [*command, *batch], environment)
    signer = Signer(settings)
    await signer.start()
    try:
        assert await signer.labels() == ["ca-citizen", "ca-citizen.20"]
        await signer.generate("ca-citizen.2", SPEC)  # nothing of it is left
    finally:
        await signer.close()


def do(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_what_a_shell_would_take_for_more_is_quoted(software_settings: SignerSettings) -> None:
    settings = replace(software_settings, directory="/srv/our keys; rm -rf ~")
    assert removal_command(settings, "a") == "rm -- '/srv/our keys; rm -rf ~/a.pem'"
