"""What holds for both key stores, asked through the signer as the server does."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pkiserver.signer.algorithms import KeySpec, digest, hash_of, load_public_key, verify, verify_digest
from pkiserver.signer.client import MAX_BATCH, Signer
from pkiserver.signer.errors import (
    BadLabelError,
    BadSignatureError,
    KeyExistsError,
    KeyNotFoundError,
    SignerSecretError,
    SignerUnavailableError,
    TokenSignatureError,
    UnsupportedKeyError,
)
from pkiserver.signer.settings import SignerSettings

P256 = KeySpec.parse("ec:P-256")


def command_line(pid: int) -> bytes:
    shown = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"pkiserver.signer.worker" in shown
    return shown


@pytest.mark.parametrize(
    "text", ["ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048", "rsa:3072", "rsa:4096", "ed25519"]
)
async def test_generate_and_sign(signer: Signer, text: str) -> None:
    spki = await signer.generate("key", KeySpec.parse(text))
    assert await signer.public_key("key") == spki
    public_key = load_public_key(spki)
    for data in (b"", b"data", bytes(100_000)):
        verify(public_key, await signer.sign("key", data), data)
    assert signer.signatures == 3


@pytest.mark.parametrize("text", ["ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048"])
async def test_a_digest_signed_is_the_data_signed(signer: Signer, text: str) -> None:
    public_key = load_public_key(await signer.generate("key", KeySpec.parse(text)))
    data = bytes(100_000)
    hashed = digest(hash_of(public_key), data)
    signature = await signer.sign_digest("key", hashed)
    verify(public_key, signature, data)
    verify_digest(public_key, signature, hashed)
    assert signer.signatures == 1
    with pytest.raises(BadSignatureError):
        verify_digest(public_key, signature, digest(hash_of(public_key), b"other"))
    with pytest.raises(UnsupportedKeyError, match="not of the hash"):
        await signer.sign_digest("key", hashed[:-1])


async def test_a_key_that_hashes_by_itself_signs_no_digest(signer: Signer) -> None:
    public_key = load_public_key(await signer.generate("key", KeySpec.parse("ed25519")))
    with pytest.raises(UnsupportedKeyError, match="takes no hash"):
        await signer.sign_digest("key", bytes(32))
    with pytest.raises(UnsupportedKeyError, match="takes no hash"):
        verify_digest(public_key, bytes(64), bytes(32))


async def test_another_key_than_is_certified_signs_nothing(signer: Signer) -> None:
    """As where another token took the place of the known one: each signature verifies, by the wrong key."""
    public_key = load_public_key(await signer.generate("key", P256))
    other = load_public_key(await signer.generate("other", P256))
    hashed = digest(hash_of(public_key), b"data")
    ways: list[Callable[[], Awaitable[object]]] = [
        lambda: signer.sign("key", b"data"),
        lambda: signer.sign_many("key", [b"data"]),
        lambda: signer.sign_digest("key", hashed),
    ]
    signer.expect("key", public_key)
    for way in ways:
        await way()
    signer.expect("key", other)
    for way in ways:
        with pytest.raises(TokenSignatureError, match="another key as key"):
            await way()


async def test_sign_many_keeps_the_order(signer: Signer) -> None:
    public_key = load_public_key(await signer.generate("key", P256))
    data = [str(number).encode() for number in range(2 * MAX_BATCH + 1)]
    signatures = await signer.sign_many("key", data)
    assert len(signatures) == len(data) == signer.signatures
    for one, signature in zip(data, signatures, strict=True):
        verify(public_key, signature, one)
    assert await signer.sign_many("key", []) == []


async def test_every_key_signs_as_itself(signer: Signer) -> None:
    public_keys = {
        label: load_public_key(await signer.generate(label, P256)) for label in ("b", "a.1", "a-2_Z")
    }
    assert await signer.labels() == ["a-2_Z", "a.1", "b"]
    signatures = await asyncio.gather(*(signer.sign(label, label.encode()) for label in public_keys))
    for (label, public_key), signature in zip(public_keys.items(), signatures, strict=True):
        verify(public_key, signature, label.encode())


async def test_existing_label_is_refused(signer: Signer) -> None:
    spki = await signer.generate("key", P256)
    with pytest.raises(KeyExistsError):
        await signer.generate("key", KeySpec.parse("ec:P-384"))
    assert await signer.public_key("key") == spki


async def test_unknown_label_is_not_found(signer: Signer) -> None:
    assert await signer.labels() == []
    for asked in (signer.sign("none", b""), signer.public_key("none")):
        with pytest.raises(KeyNotFoundError, match="none"):
            await asked
    await signer.generate("none", P256)  # the worker went on
    assert signer.restarts == 0


@pytest.mark.parametrize(
    "label", ["", ".", "..", ".hidden", "a/b", "../a", "a b", "a\n", "a\0", "ключ", "-a", "a" * 65]
)
async def test_unsafe_label_is_refused(software_settings: SignerSettings, label: str) -> None:
    signer = Signer(software_settings)
    for asked in (signer.generate(label, P256), signer.sign(label, b""), signer.public_key(label)):
        with pytest.raises(BadLabelError):
            await asked


async def test_keys_outlive_the_process(settings: SignerSettings) -> None:
    first = Signer(settings)
    await first.start()
    spki = await first.generate("key", P256)
    await first.close()
    second = Signer(settings)
    await second.start()
    try:
        assert await second.labels() == ["key"]
        assert await second.public_key("key") == spki
        verify(load_public_key(spki), await second.sign("key", b"data"), b"data")
    finally:
        await second.close()


async def test_wrong_secret_is_told_at_start(
    settings: SignerSettings, wrong_secret: Callable[[SignerSettings], SignerSettings]
) -> None:
    good = Signer(settings)
    await good.start()
    await good.generate("key", P256)
    await good.close()
    signer = Signer(wrong_secret(settings))
    with pytest.raises(SignerSecretError) as caught:
        await signer.start()
    assert "\n" not in str(caught.value)
    assert "a wrong one" not in str(caught.value)
    assert (signer.healthy, signer.pids, signer.restarts) == (False, [], 0)
    with pytest.raises(SignerUnavailableError, match="not started"):
        await signer.sign("key", b"")


async def test_secret_from_the_environment(
    settings: SignerSettings,
    secret_of: Callable[[SignerSettings], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGNER_TEST_SECRET", secret_of(settings))
    if settings.store == "software":
        from_variable = replace(settings, passphrase_file=None, passphrase_env="SIGNER_TEST_SECRET")
    else:
        from_variable = replace(settings, pin_file=None, pin_env="SIGNER_TEST_SECRET")
    signer = Signer(from_variable)
    await signer.start()
    try:
        await signer.generate("key", P256)
        assert secret_of(settings).encode() not in command_line(signer.pids[0])
    finally:
        await signer.close()
