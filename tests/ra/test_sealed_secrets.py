"""Secrets of CMP's credentials: known again to the server, and to nobody who has the database alone."""

import stat
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pkiserver.core import Core
from pkiserver.errors import NotAuthenticatedError, RefusedError, UnavailableError
from pkiserver.ra.credentials import NewCredential
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.web.api.idempotency import IdempotentRequests, request_hash
from store import credentials as rows
from store.api_requests import Answer

if TYPE_CHECKING:
    from tests.ra.conftest import SetClock


async def create(core: Core, use: str = "cmp", profile: str = "device") -> NewCredential:
    return await core.credentials.create(
        profile=profile,
        subject="CN=sensor-7",
        san=(),
        limit_mnt=None,
        uses=1,
        lifetime=None,
        actor="test",
        use="cmp" if use == "cmp" else "est",
    )


def test_what_was_sealed_is_known_again(tmp_path: Path) -> None:
    file = tmp_path / "credentials.key"
    sealed = SealedSecrets(file).seal("reference", "a secret")
    assert b"secret" not in sealed
    assert SealedSecrets(file).unseal("reference", sealed) == "a secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_keyed_hash_is_the_same_by_the_same_key_alone(tmp_path: Path) -> None:
    file, other = tmp_path / "credentials.key", tmp_path / "other.key"
    hashed = SealedSecrets(file).keyed_hash(b"123456789012")
    assert SealedSecrets(file).keyed_hash(b"123456789012") == hashed
    assert SealedSecrets(file).keyed_hash(b"123456789013") != hashed
    assert SealedSecrets(other).keyed_hash(b"123456789012") != hashed


async def test_what_was_asked_with_an_idempotency_key_is_not_to_be_found_by_trying(core: Core) -> None:
    """A civil registration number has twelve digits: by its hash it is found within minutes."""
    sealed = SealedSecrets(core.home.credential_key)
    requests = IdempotentRequests(core.storage, core.clock, timedelta(days=1), sealed)
    asked = request_hash("POST", "/api/v1/actors/bat/identify", b'{"civil_id":"123456789012"}')

    async def work() -> Answer:
        return Answer(200, None, b"{}")

    for _ in range(2):
        assert await requests.once("actor:oyun", "12345678", asked, work) == Answer(200, None, b"{}")
    row = await core.storage.read(lambda tx: tx.one("SELECT request FROM api_requests"))
    assert row is not None
    assert row[0] != asked


def test_two_seals_of_one_secret_differ(tmp_path: Path) -> None:
    secrets = SealedSecrets(tmp_path / "credentials.key")
    assert secrets.seal("reference", "a secret") != secrets.seal("reference", "a secret")


@pytest.mark.parametrize("key", ["", "zz", "00" * 31, "11" * 32])
def test_another_key_reads_nothing(tmp_path: Path, key: str) -> None:
    sealed = SealedSecrets(tmp_path / "credentials.key").seal("reference", "a secret")
    (tmp_path / "other.key").write_text(key)
    with pytest.raises(UnavailableError, match="other"):
        SealedSecrets(tmp_path / "other.key").unseal("reference", sealed)


def test_a_lost_key_is_not_replaced_when_reading(tmp_path: Path) -> None:
    sealed = SealedSecrets(tmp_path / "credentials.key").seal("reference", "a secret")
    with pytest.raises(UnavailableError):
        SealedSecrets(tmp_path / "lost.key").unseal("reference", sealed)
    assert not (tmp_path / "lost.key").exists()


@pytest.mark.parametrize("position", [0, 12, -1])
def test_a_changed_or_moved_secret_is_refused(tmp_path: Path, position: int) -> None:
    secrets = SealedSecrets(tmp_path / "credentials.key")
    sealed = bytearray(secrets.seal("reference", "a secret"))
    with pytest.raises(UnavailableError):
        secrets.unseal("another", bytes(sealed))
    sealed[position] ^= 1
    with pytest.raises(UnavailableError):
        secrets.unseal("reference", bytes(sealed))


async def test_a_credential_for_cmp_keeps_no_hash_and_no_clear_secret(core: Core) -> None:
    new = await create(core)
    record = await core.storage.read(lambda tx: rows.get(tx, new.reference))
    assert record is not None
    assert record.secret_hash is None
    assert record.sealed_secret is not None
    assert new.secret.encode() not in core.home.database.read_bytes()
    found = await core.credentials.mac_secret(new.reference)
    assert (found.secret, found.credential) == (new.secret, record)


async def test_a_secret_is_for_one_protocol(core: Core) -> None:
    for_cmp, for_est = await create(core, "cmp"), await create(core, "est")
    with pytest.raises(NotAuthenticatedError):
        await core.credentials.authenticate(for_cmp.reference, for_cmp.secret)
    assert (await core.credentials.mac_secret(for_est.reference)).credential is None


async def test_an_unknown_reference_has_a_secret_that_nobody_knows(core: Core) -> None:
    found = [await core.credentials.mac_secret("unknown") for _ in range(2)]
    assert [one.credential for one in found] == [None, None]
    assert found[0].secret != found[1].secret


async def test_a_cancelled_credential_keys_nothing(core: Core) -> None:
    new = await create(core)
    await core.credentials.cancel(new.reference, "test")
    assert (await core.credentials.mac_secret(new.reference)).credential is None


async def test_an_expired_credential_still_ends_what_it_began(core: Core, clock: "SetClock") -> None:
    new = await create(core)
    clock.moment = new.expires_at
    assert (await core.credentials.mac_secret(new.reference)).credential is not None


async def test_a_profile_of_two_factors_has_no_credential_for_cmp(core: Core) -> None:
    profile = core.profiles["device"].model_copy(update={"est_authentication": ("credential+certificate",)})
    core.profiles["device"] = profile
    with pytest.raises(RefusedError, match="has one"):
        await create(core)
