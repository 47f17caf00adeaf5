"""Has a new key of an authority follow the present one: prepared, published, activated (RFC 9810 §4.4).

The former key stays: it signs CRLs and OCSP signers for what it issued until that has ended. Every step is
"have it, or do it": one that was cut short is simply taken again.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from config.profile import Profile
from config.schema import Settings
from config.units import Lifetime
from pkiserver import audit
from pkiserver.ca.authorities import COMING, Authority
from pkiserver.ca.hierarchy import Hierarchy
from pkiserver.ca.identity import Identity
from pkiserver.ca.own_certificates import SYSTEM, CAServices
from pkiserver.ca.root_updates import LINK_PROFILE
from pkiserver.clock import utc_text
from pkiserver.errors import ConflictError, RefusedError
from store import audit as audit_chain
from store import authorities as rows
from store.database import Transaction
from store.records import AuthorityRecord, AuthorityState, authority_handle

NOTICE: Final = timedelta(days=365)  # how long before it is too late a roll-over is asked for


class Rollover:
    """Walks authorities from one key to the next."""

    def __init__(self, services: CAServices, hierarchy: Hierarchy) -> None:
        self._services = services
        self._hierarchy = hierarchy
        self._storage = services.storage
        self._authorities = services.authorities

    async def prepare(self, name: str, actor: str) -> AuthorityRecord:
        """Return the next generation of an authority, with its key, certificate and a root's links.

        Where it is certified outside it waits for its certificate. Raises `ConflictError` where the next one
        is published already, `RefusedError` where it would outlive its issuer or, a root, end too early.
        """
        present = self._authorities.get(name)
        coming = self.coming(present.name)
        if coming is None:
            self._require_later_end(present)
            await self._add(present, actor)
            coming = self._require_coming(present.name, "prepared")
        if coming.state != "prepared":
            raise ConflictError(f"{coming.handle} is published already: activate it")
        if coming.certificate is None:
            await self._hierarchy.certify(coming)
        await self._link(coming)
        return self._authorities.record_with_id(coming.id)

    async def publish(self, name: str, actor: str) -> Authority:
        """Let everybody know the next generation: it gets its OCSP signer, CRLs and a place in cacerts."""
        coming = self._require_coming(name, "prepared")
        authority = self._authorities.get(_exact(coming))  # `ConflictError` while it has no certificate
        await self._link(coming)
        await self._hierarchy.ensure_responder(authority)
        await self._move(coming, "prepared", "published", actor, "authority.publish")
        return self._authorities.with_id(coming.id)

    async def activate(self, name: str, at: datetime | None, actor: str) -> Authority:
        """Have the next generation issue from now on, or from `at` on; `RefusedError` for a useless time."""
        coming = self._require_coming(name, "published")
        now = self._services.clock.now()
        if at is not None and at > now:
            await self._schedule(coming, at, actor)
        else:
            await self._activate(coming, actor)
        return self._authorities.with_id(coming.id)

    async def activate_due(self) -> bool:
        """Activate what was to be activated by now; True where anything was."""
        now = self._services.clock.now()
        due = [one for one in self._authorities.records if one.activate_at and one.activate_at <= now]
        for record in due:
            await self._activate(record, SYSTEM)
        return bool(due)

    def times(self) -> Mapping[str, datetime]:
        """Return of each active authority until when its next key has to be active (`latest_activation`)."""
        services = self._services
        return {
            one.name: latest_activation(
                one.name, one.certificate.not_valid_after_utc, services.settings, services.profiles
            )
            for one in self._authorities
            if one.state == "active"
        }

    def near(self) -> Mapping[str, datetime]:
        """Return those times that are less than `NOTICE` away, but for what is activated before by itself."""
        now = self._services.clock.now()
        planned = {one.name: one.activate_at for one in self._authorities.records if one.activate_at}
        return {
            name: latest
            for name, latest in self.times().items()
            if latest - now < NOTICE and (name not in planned or planned[name] > latest)
        }

    def coming(self, name: str) -> AuthorityRecord | None:
        """Return the generation that is to follow the present one, None where there is none."""
        return next((one for one in self._authorities.generations(name) if one.state in COMING), None)

    def _require_coming(self, name: str, state: AuthorityState) -> AuthorityRecord:
        coming = self.coming(name)
        if coming is None:
            raise ConflictError(f"{name} has no next key: `pkiserver ca rollover {name} --prepare` makes it")
        if coming.state != state:
            raise ConflictError(f"{coming.handle} is {coming.state}, not {state}")
        return coming

    def _require_later_end(self, present: Authority) -> None:
        """The newest root is the one that ends last (RFC 7030 §4.1.3), and OldWithNew ends within it."""
        lifetime = self._services.settings.authorities[present.name].lifetime
        if not present.parent and lifetime.after(self._services.clock.now()) <= (
            present.certificate.not_valid_after_utc + timedelta(seconds=1)
        ):
            raise RefusedError(
                f"with authorities.{present.name}.lifetime of today the new root would end before the"
                " present one: wait, or set a longer one"
            )

    async def _add(self, present: Authority, actor: str) -> None:
        generation = self._authorities.generations(present.name)[-1].generation + 1
        handle = authority_handle(present.name, generation)
        label = None if present.key_label is None else f"ca-{handle}"
        entry = audit.entry(self._services.clock.now(), actor, "authority.prepare", authority=handle)

        def transaction(tx: Transaction) -> None:
            rows.add_authority(
                tx, present.name, present.parent, label, generation=generation, state="prepared"
            )
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)

    async def _link(self, coming: AuthorityRecord) -> None:
        """Have a root's new key and the one before certify each other (RFC 9810 §4.4.1)."""
        pair = self._roots(coming)
        if pair is None:
            return
        old, new = pair
        begin, end = new.certificate.not_valid_before_utc, old.certificate.not_valid_after_utc
        await self._issue_link(new, old, (begin, min(end, new.certificate.not_valid_after_utc)))
        await self._issue_link(old, new, (old.certificate.not_valid_before_utc, end))
        await self._authorities.reload(self._storage)

    def _roots(self, coming: AuthorityRecord) -> tuple[Authority, Authority] | None:
        """Return the former and the new root where both keys are here and the former one is to be trusted."""
        if coming.parent or coming.key_label is None:
            return None
        known = self._authorities.generations(coming.name)
        before = [one for one in known if one.generation < coming.generation and one.state != "dropped"]
        former = self._authorities.with_id(before[-1].id)
        ended = former.certificate.not_valid_after_utc <= self._services.clock.now()
        if ended or former.key_label is None or former.state not in ("active", "retiring"):
            return None
        return former, self._authorities.with_id(coming.id)

    async def _issue_link(
        self, subject: Authority, issuer: Authority, validity: tuple[datetime, datetime]
    ) -> None:
        await self._services.issue(
            LINK_PROFILE,
            issuer.exact,
            Identity(subject.certificate.subject),
            subject.certificate.public_key(),
            validity=validity,
        )

    async def _schedule(self, coming: AuthorityRecord, at: datetime, actor: str) -> None:
        present = self._authorities.get(coming.name)
        if at >= present.certificate.not_valid_after_utc:
            end = utc_text(present.certificate.not_valid_after_utc)
            raise RefusedError(f"{present.handle} ends on {end}: activate the next one before")
        now = self._services.clock.now()
        entry = audit.entry(
            now, actor, "authority.schedule", authority=coming.handle, activate_at=utc_text(at)
        )

        def transaction(tx: Transaction) -> None:
            if not rows.activate_at(tx, coming.id, at):
                raise ConflictError(f"{coming.handle} is not published any more")
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)

    async def _activate(self, coming: AuthorityRecord, actor: str) -> None:
        present = [one for one in self._authorities.generations(coming.name) if one.state == "active"]
        now = self._services.clock.now()
        former = present[0].handle if present else None
        entry = audit.entry(now, actor, "authority.activate", authority=coming.handle, former=former)

        def transaction(tx: Transaction) -> None:
            moved = [rows.move(tx, one.id, "active", "retiring") for one in present]
            if not all(moved) or not rows.move(tx, coming.id, "published", "active"):
                raise ConflictError(f"{coming.handle} cannot become active: its state has changed")
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)

    async def _move(
        self,
        record: AuthorityRecord,
        before: AuthorityState,
        after: AuthorityState,
        actor: str,
        action: str,
    ) -> None:
        entry = audit.entry(self._services.clock.now(), actor, action, authority=record.handle)

        def transaction(tx: Transaction) -> None:
            if not rows.move(tx, record.id, before, after):
                raise ConflictError(f"{record.handle} is not {before} any more")
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)
        await self._authorities.reload(self._storage)


def latest_activation(
    name: str, end: datetime, settings: Settings, profiles: Mapping[str, Profile]
) -> datetime:
    """Return until when the key that follows an authority's, which ends at `end`, has to be active.

    Nothing outlives its issuer: later, the longest-lived of what it issues would be refused.
    """
    own = [one.lifetime for one in profiles.values() if one.issuer == name]
    below = [one.lifetime for one in settings.authorities.values() if one.parent == name]
    lifetimes = [_length(one, end) for one in (*own, *below) if one is not None]
    return end - max(lifetimes, default=timedelta(0))


def _length(lifetime: Lifetime, day: datetime) -> timedelta:
    return lifetime.after(day) - day


def _exact(record: AuthorityRecord) -> str:
    return f"{record.name}.{record.generation}"
