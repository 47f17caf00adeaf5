"""Enrolment credentials on a real store: made, checked, limited, cancelled; each secret known once."""

import asyncio
import hmac
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.profile import SHIPPED_PROFILES, load_profiles
from pkiserver.errors import NotAuthenticatedError, NotFoundError, RefusedError
from pkiserver.ra import credentials as module
from pkiserver.ra.credentials import (
    ALPHABET,
    MAX_USES,
    Credentials,
    NewCredential,
    WrongCredentialError,
    enrollable,
    issuer_name,
    random_text,
    state,
)
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.storage import Storage
from protocols.errors import ProtocolError
from store import credentials as rows
from store.database import Database
from store.records import CredentialRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WEEK = timedelta(days=7)
ATTEMPTS = 3
PROFILES = load_profiles(SHIPPED_PROFILES)
CITIZEN = "CN=Бат Дорж,givenName=Дорж,SN=Бат,serialNumber=PNOMN-123456789012"


class Setup:
    def __init__(self, path: Path, clock: Any) -> None:
        self.clock = clock
        self.clock.moment = NOW
        self.storage = Storage(Database(path))
        self.credentials = Credentials(
            storage=self.storage,
            clock=clock,
            profiles=PROFILES,
            max_attempts=ATTEMPTS,
            lifetime=WEEK,
            sealed_secrets=SealedSecrets(path.with_name("credentials.key")),
        )

    async def create(self, **changes: Any) -> NewCredential:
        values: dict[str, Any] = {
            "profile": "device",
            "subject": "CN=Sensor 7,O=Жишээ",
            "san": ("dns:Sensor.Example.MN",),
            "limit_mnt": None,
            "uses": 1,
            "lifetime": None,
            "actor": "registrar:7",
        }
        return await self.credentials.create(**values | changes)

    async def guess(self, reference: str, secret: str) -> None:
        """Try a wrong secret and count it, as enrolment does with the record of the refusal."""
        with pytest.raises(WrongCredentialError, match="is wrong") as caught:
            await self.credentials.authenticate(reference, secret)
        credential = caught.value.credential
        assert credential is not None
        await self.storage.write(lambda tx: rows.take_attempt(tx, credential.id))

    async def record(self, reference: str) -> CredentialRecord:
        found = await self.storage.read(lambda tx: rows.get(tx, reference))
        assert found is not None
        return found


@pytest.fixture
async def setup(tmp_path: Path, clock: Any) -> AsyncIterator[Setup]:
    made = Setup(tmp_path / "test.db", clock)
    yield made
    made.storage.database.close()


def contents(folder: Path) -> bytes:
    """Return everything that is written in a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_making_one(setup: Setup, recorded: Any, tmp_path: Path) -> None:
    new = await setup.create(uses=2)
    record = await setup.record(new.reference)
    assert (record.profile, record.subject, record.san) == (
        "device",
        "CN=Sensor 7,O=Жишээ",
        ("dns:sensor.example.mn",),
    )
    assert (record.uses_left, record.attempts_left, record.limit_mnt) == (2, ATTEMPTS, None)
    assert new.expires_at == record.expires_at == NOW + WEEK
    assert await recorded(setup.storage) == [
        {
            "at": NOW,
            "actor": "registrar:7",
            "action": "credential.create",
            "outcome": "done",
            "reference": new.reference,
            "profile": "device",
            "uses": 2,
            "use": "est",
            "personal": {"subject": "CN=Sensor 7,O=Жишээ", "san": ["dns:Sensor.Example.MN"]},
        }
    ]
    written = contents(tmp_path)
    assert new.reference.encode() in written
    assert new.secret.encode() not in written


async def test_no_two_are_alike(setup: Setup) -> None:
    one, other = await setup.create(), await setup.create()
    assert one.reference != other.reference
    assert one.secret != other.secret


async def test_a_lifetime_of_its_own(setup: Setup) -> None:
    assert (await setup.create(lifetime=timedelta(hours=1))).expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uses": 0}, "1 to 10000 uses"),
        ({"uses": MAX_USES + 1}, "1 to 10000 uses"),
        ({"subject": "O=no common name"}, "commonName is required"),
        ({"subject": "CN=a,title=Director"}, "title has no place"),
        ({"san": ("email:a@example.mn",)}, "email names have no place"),
        ({"san": ("dns:*.example.mn",)}, "does not match"),
        ({"san": tuple(f"dns:a{number}.example.mn" for number in range(17))}, "more than 16 dns names"),
        ({"limit_mnt": 5}, "a value limit has no place"),
        ({"profile": "tls-server", "subject": "O=no name"}, "a name is required"),
        (
            {"profile": "citizen-signature", "subject": CITIZEN.replace("PNOMN-1", "PNOMN-"), "san": ()},
            "serialNumber does not match",
        ),
        (
            {"profile": "citizen-signature", "subject": CITIZEN, "san": (), "limit_mnt": 0},
            "value limit is not between",
        ),
        (
            {"profile": "citizen-signature", "subject": f"{CITIZEN},C=RU", "san": ()},
            "countryName is always MN",
        ),
    ],
)
async def test_an_identity_is_held_to_its_profile_at_once(
    setup: Setup, changes: dict[str, Any], message: str
) -> None:
    if changes.get("profile") == "tls-server":
        changes = {"san": ()} | changes
    with pytest.raises(RefusedError, match=message):
        await setup.create(**changes)
    assert await setup.storage.read(lambda tx: rows.newest(tx, 10)) == []


@pytest.mark.parametrize("changes", [{"subject": "no name"}, {"san": ("host.example.mn",)}])
async def test_text_that_is_no_name(setup: Setup, changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        await setup.create(**changes)


@pytest.mark.parametrize("profile", ["unknown", "root-ca", "ocsp-responder"])
async def test_profiles_that_nobody_enrols_for(setup: Setup, profile: str) -> None:
    with pytest.raises(NotFoundError, match=f"no profile {profile} to enrol for: there are .*device"):
        await setup.create(profile=profile)


def test_who_issues_a_profile() -> None:
    assert issuer_name(enrollable(PROFILES, "government-token")) == "government"
    with pytest.raises(NotFoundError, match="not for end entities"):
        issuer_name(PROFILES["root-ca"])


def test_each_character_of_a_secret_is_as_likely_as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkiserver.ra.credentials.secrets.token_bytes", lambda _: bytes(range(256)))
    counted = Counter(random_text(4 * len(ALPHABET)))
    assert counted == dict.fromkeys(ALPHABET, 4)
    assert len(random_text(7)) == 7


async def test_the_right_secret(setup: Setup) -> None:
    new = await setup.create()
    record = await setup.credentials.authenticate(new.reference, new.secret)
    assert record == await setup.record(new.reference)
    assert (record.uses_left, record.attempts_left) == (1, ATTEMPTS)


async def test_unknown_reference_and_wrong_secret_look_alike(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same error, and each compares two digests of one length, in constant time, once."""
    compared: list[tuple[int, int]] = []

    def digest(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(module, "hmac", type("Watched", (), {"compare_digest": staticmethod(digest)}))
    new = await setup.create()
    messages = set()
    for reference, secret in [(new.reference, "wrong"), ("unknown", new.secret), ("", ""), ("unknown", "")]:
        with pytest.raises(NotAuthenticatedError) as refusal:
            await setup.credentials.authenticate(reference, secret)
        messages.add(str(refusal.value))
    assert messages == {"reference or secret is wrong"}
    assert compared == [(32, 32)] * 4


async def test_wrong_secrets_lock_it_for_the_right_one_too(setup: Setup) -> None:
    new, other = await setup.create(), await setup.create()
    for left in range(ATTEMPTS - 1, -1, -1):
        await setup.guess(new.reference, "wrong")
        assert (await setup.record(new.reference)).attempts_left == left
    for secret in (new.secret, "wrong"):
        with pytest.raises(NotAuthenticatedError):
            await setup.credentials.authenticate(new.reference, secret)
    assert state(await setup.record(new.reference), NOW) == "locked"
    assert (await setup.credentials.authenticate(other.reference, other.secret)).attempts_left == ATTEMPTS


async def test_guesses_at_once_are_all_counted(setup: Setup) -> None:
    new = await setup.create()
    await asyncio.gather(*(setup.guess(new.reference, f"guess-{number}") for number in range(ATTEMPTS)))
    with pytest.raises(NotAuthenticatedError, match="locked"):
        await setup.credentials.authenticate(new.reference, new.secret)


async def test_it_works_until_it_expires(setup: Setup) -> None:
    new = await setup.create()
    setup.clock.moment = new.expires_at - SECOND
    await setup.credentials.authenticate(new.reference, new.secret)
    setup.clock.moment = new.expires_at
    with pytest.raises(NotAuthenticatedError, match="expired"):
        await setup.credentials.authenticate(new.reference, new.secret)


async def test_cancelling(setup: Setup, recorded: Any) -> None:
    new = await setup.create()
    await setup.credentials.cancel(new.reference, "registrar:8")
    with pytest.raises(NotAuthenticatedError, match="cancelled"):
        await setup.credentials.authenticate(new.reference, new.secret)
    for reference in (new.reference, "unknown"):
        with pytest.raises(NotFoundError, match=f"no credential {reference} that could be cancelled"):
            await setup.credentials.cancel(reference, "registrar:8")
    cancelled = [one for one in await recorded(setup.storage) if one["action"] == "credential.cancel"]
    assert [(one["actor"], one["reference"]) for one in cancelled] == [("registrar:8", new.reference)]


async def test_how_one_stands(setup: Setup) -> None:
    record = await setup.record((await setup.create()).reference)
    assert state(record, NOW) == "usable"
    assert state(record, record.expires_at - SECOND) == "usable"
    assert state(record, record.expires_at) == "expired"
    assert state(replace(record, uses_left=0), record.expires_at) == "used"
    assert state(replace(record, uses_left=0, attempts_left=0), NOW) == "locked"
    assert state(replace(record, attempts_left=0, cancelled_at=NOW), NOW) == "cancelled"
