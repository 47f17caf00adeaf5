"""Enrolment credentials: a reference and a secret that let somebody enrol one approved identity."""

import hashlib
import hmac
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from config.profile import Profile
from pkiserver import audit
from pkiserver.ca.identity import Identity, approve_identity
from pkiserver.clock import Clock
from pkiserver.errors import NotAuthenticatedError, NotFoundError, RefusedError
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.storage import Storage
from protocols.x509.names import parse_san, parse_subject, san_text, subject_text
from store import audit as audit_chain
from store import credentials as rows
from store.database import Transaction
from store.records import CredentialRecord

# Letters and digits: a word that begins with "-" would be taken for an option on a command line.
ALPHABET: Final = string.ascii_letters + string.digits
_LETTERS: Final = bytes(ord(ALPHABET[octet % len(ALPHABET)]) for octet in range(256))
_NO_LETTERS: Final = bytes(range(256 - 256 % len(ALPHABET), 256))
REFERENCE_CHARACTERS: Final = 13  # 77 random bits; not secret, but not to be guessed either
SECRET_CHARACTERS: Final = 25  # 148 random bits: a plain hash keeps them (no dictionary to try)
MAX_USES: Final = 10_000
Use = Literal["est", "cmp"]  # a secret is for one of them: shown as it is, or the key of MACs
Bind = Callable[[Transaction, str], None]  # does in its transaction what a new reference is for
_NOBODY: Final = hashlib.sha256(b"").digest()  # compared with where the reference is unknown


class WrongCredentialError(NotAuthenticatedError):
    """Nobody was authenticated; `credential` is the one whose secret was wrong, where it was that."""

    def __init__(self, message: str, credential: CredentialRecord | None) -> None:
        super().__init__(message)
        self.credential = credential


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential just made: the only moment its secret is known."""

    reference: str
    secret: str
    expires_at: datetime


class MACSecret(NamedTuple):
    """The secret that keys the MACs of a reference; `credential` None: there is none, and no MAC is right."""

    secret: str
    credential: CredentialRecord | None


class Credentials:
    """Makes, checks and cancels enrolment credentials."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        profiles: Mapping[str, Profile],
        max_attempts: int,
        lifetime: timedelta,
        sealed_secrets: SealedSecrets,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._profiles = profiles
        self._max_attempts = max_attempts
        self._lifetime = lifetime
        self._sealed_secrets = sealed_secrets

    async def create(
        self,
        *,
        profile: str,
        subject: str,
        san: tuple[str, ...],
        limit_mnt: int | None,
        uses: int,
        lifetime: timedelta | None,
        actor: str,
        use: Use = "est",
        bind: Bind | None = None,
    ) -> NewCredential:
        """Make a credential; the identity is held to the profile now, not first when it is used.

        `bind` runs in the same transaction: there is no credential where it raises.
        """
        if not 1 <= uses <= MAX_USES:
            raise RefusedError(f"a credential has 1 to {MAX_USES} uses")
        chosen = enrollable(self._profiles, profile)
        _require_use(chosen, use)
        name, names = parse_subject(subject), tuple(parse_san(text) for text in san)
        check_identity(chosen, Identity(name, names, limit_mnt))
        now = self._clock.now()
        expires_at = now + (lifetime or self._lifetime)
        new = NewCredential(random_text(REFERENCE_CHARACTERS), random_text(SECRET_CHARACTERS), expires_at)
        sealed = self._sealed_secrets.seal(new.reference, new.secret) if use == "cmp" else None
        shown, shown_names = subject_text(name), tuple(map(san_text, names))

        def transaction(tx: Transaction) -> None:
            entry = audit.entry(
                now,
                actor,
                "credential.create",
                personal={"subject": shown, "san": list(san)},
                reference=new.reference,
                profile=profile,
                uses=uses,
                use=use,
            )
            rows.add(
                tx,
                reference=new.reference,
                secret_hash=_hash(new.secret) if sealed is None else None,
                sealed_secret=sealed,
                profile=profile,
                subject=shown,
                san=shown_names,
                limit_mnt=limit_mnt,
                uses=uses,
                attempts=self._max_attempts,
                created_at=now,
                expires_at=expires_at,
                audit_sequence=audit_chain.append(tx, entry).sequence,
            )
            if bind is not None:
                bind(tx, new.reference)

        await self._storage.write(transaction, brief=True)
        return new

    async def authenticate(self, reference: str, secret: str) -> CredentialRecord:
        """Return the credential whose secret this is, used up or not.

        `WrongCredentialError` says nothing of what was wrong; where a secret was, it names the credential,
        and the caller takes an attempt as it records the refusal.
        """
        record = await self._storage.read(lambda tx: rows.get(tx, reference), brief=True)
        kept = record.secret_hash if record is not None else None
        right = hmac.compare_digest(_hash(secret), kept if kept is not None else _NOBODY)
        if record is None or not right or kept is None:
            raise WrongCredentialError("reference or secret is wrong", record if kept is not None else None)
        if record.cancelled_at or record.attempts_left == 0 or record.expires_at <= self._clock.now():
            raise WrongCredentialError("the credential is cancelled, locked or expired", None)
        return record

    async def mac_secret(self, reference: str) -> MACSecret:
        """Return the secret by which MACs of a reference are verified; a random one where there is none.

        So who tries references sees no difference. A credential that is used up or expired has its secret
        still: a transaction that it began goes on.
        """
        record = await self._storage.read(lambda tx: rows.get(tx, reference), brief=True)
        if record is None or record.sealed_secret is None or record.cancelled_at or not record.attempts_left:
            return MACSecret(random_text(SECRET_CHARACTERS), None)
        return MACSecret(self._sealed_secrets.unseal(reference, record.sealed_secret), record)

    async def cancel(self, reference: str, actor: str) -> None:
        """Cancel a credential; `NotFoundError` when there is none to cancel."""
        now = self._clock.now()

        def transaction(tx: Transaction) -> None:
            if not rows.cancel(tx, reference, now):
                raise NotFoundError(
                    f"no credential {reference} that could be cancelled; see `pkiserver credential list`"
                )
            audit_chain.append(tx, audit.entry(now, actor, "credential.cancel", reference=reference))

        await self._storage.write(transaction)


def _require_use(profile: Profile, use: Use) -> None:
    """Raise `RefusedError` where credentials of this use enrol nothing of a profile."""
    if set(profile.est_authentication) == {"certificate"}:
        raise RefusedError(f"profile {profile.name} is enrolled with a client certificate alone")
    if use == "cmp" and "credential" not in profile.est_authentication:
        raise RefusedError(
            f"profile {profile.name} is enrolled with credential and certificate: a CMP message has one"
            " protection"
        )


def state(record: CredentialRecord, now: datetime) -> str:
    """Return how a credential stands: usable, used, locked, expired or cancelled."""
    if record.cancelled_at is not None:
        return "cancelled"
    if record.attempts_left == 0:
        return "locked"
    if record.uses_left == 0:
        return "used"
    return "expired" if record.expires_at <= now else "usable"


def enrollable(profiles: Mapping[str, Profile], name: str) -> Profile:
    """Return the profile of this name, where clients may enrol for it."""
    profile = profiles.get(name)
    if profile is None or not profile.enroll:
        names = ", ".join(sorted(known.name for known in profiles.values() if known.enroll))
        raise NotFoundError(f"no profile {name} to enrol for: there are {names}")
    return profile


def issuer_name(profile: Profile) -> str:
    """Return the authority that issues an end-entity profile; `NotFoundError` for the other kinds."""
    if profile.issuer is None:
        raise NotFoundError(f"profile {profile.name} is not for end entities")
    return profile.issuer


def check_identity(profile: Profile, identity: Identity) -> None:
    """Hold an identity to its profile before anyone uses it; `RefusedError` names what does not fit."""
    approve_identity(
        profile,
        approved_subject=identity.subject,
        approved_san=identity.san,
        requested_subject=None,
        requested_san=None,
        limit_mnt=identity.limit_mnt,
    )


def random_text(characters: int) -> str:
    """Return random characters, each as likely as another: each stands for four octets, eight for none."""
    text = ""
    while len(text) < characters:
        text += secrets.token_bytes(characters).translate(_LETTERS, _NO_LETTERS).decode("ascii")
    return text[:characters]


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
