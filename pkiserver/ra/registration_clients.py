"""Registration clients (RFC 7030 §3.7): they ask on behalf of others, and somebody else approves.

What an RA says of a holder is a claim until it was approved. So it may ask for the profiles whose enrolments
await approval, and for no others; four eyes see each certificate, its own and those of who decides. Where it
is limited to some of them, it acts on certificates of these alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config.profile import Profile
from pkiserver.ca.identity import approve_identity
from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.actors import ROLES, Actors, has_usage
from pkiserver.ra.approval import Approvals
from pkiserver.ra.approved import Approved
from pkiserver.ra.client_certificates import Holder
from pkiserver.ra.credentials import enrollable
from pkiserver.ra.profile_limits import check_limit
from pkiserver.ra.reenrollment import same_identity
from pkiserver.ra.role_grants import REGISTRATION_CLIENT
from pkiserver.storage import Storage
from protocols.x509.csr import UnprovenCSR, parse_csr
from store import actor_profiles


@dataclass(frozen=True, slots=True)
class RegistrationClient:
    """A registered RA; `limit` are the profiles that it is limited to, none where it is not."""

    name: str
    limit: frozenset[str] = frozenset()

    def require(self, profile: str) -> None:
        """Raise `NotAuthorizedError` for a profile beyond its limit."""
        if self.limit and profile not in self.limit:
            raise NotAuthorizedError(
                f"{self.name} is limited to the profiles {', '.join(sorted(self.limit))}: {profile} is none"
            )


class RegistrationClients:
    """Decides what a registration client may ask for."""

    def __init__(
        self, storage: Storage, profiles: Mapping[str, Profile], actors: Actors, approvals: Approvals
    ) -> None:
        self._storage = storage
        self._profiles = profiles
        self._actors = actors
        self._approvals = approvals

    def check_limit(self, limit: Sequence[str]) -> None:
        """Raise `RefusedError` where a registration client cannot be limited to these profiles."""
        check_limit(self._profiles, limit)

    async def actor(self, holder: Holder, label: str | None) -> RegistrationClient | None:
        """Return the registration client that shows its certificate, or None for anybody else.

        `NotAuthorizedError` for one that is not registered and asks as one would: a password, for which it
        would be asked otherwise, is not what it lacks.
        """
        if not has_usage(holder.certificate, ROLES[REGISTRATION_CLIENT]):
            return None
        found = await self._actors.holder(holder.record)
        if found is not None and not found.has_role(REGISTRATION_CLIENT):
            found = None  # what it may do through the API says nothing of enrolments
        profile = self._profiles.get(label or "")
        if found is None and profile is not None and profile.approval:
            raise NotAuthorizedError("this registration client is not registered: see `pkiserver actor add`")
        if found is None:
            return None
        name = found.name
        return RegistrationClient(name, await self._storage.read(lambda tx: actor_profiles.of(tx, name)))

    async def enroll(
        self,
        csr_der: bytes,
        holder: Holder,
        actor: RegistrationClient,
        label: str | None,
        *,
        signed_request: bytes | None = None,
    ) -> bytes:
        """Return the DER certificate of a request on behalf of others, once it was approved.

        The identity is what the request says, all of it held to the profile. A challengePassword is not
        looked at: it belongs to the connection between the RA and its client (RFC 7030 §3.7).
        Raises `NotAuthorizedError`, `NotFoundError`, and what `parse_csr` and `Approvals.obtain` do.
        """
        csr = parse_csr(csr_der)
        approved = self.approve(csr, holder, actor, label)
        request = approved.request(csr.public_key, signed_request=signed_request)
        return await self._approvals.obtain(request, for_others=True)

    def approve(
        self, csr: UnprovenCSR, holder: Holder, actor: RegistrationClient, label: str | None
    ) -> Approved:
        """Return what a registration client may have made for others, once somebody approves; as `enroll`."""
        if label is None:
            raise NotAuthorizedError(
                "a registration client says for which profile in the path (RFC 7030 §3.2.2)"
            )
        profile = self._awaiting_approval(actor, label)
        identity = approve_identity(
            profile,
            approved_subject=csr.subject,
            approved_san=csr.san,
            requested_subject=csr.subject,
            requested_san=csr.san,
        )
        return Approved(profile, identity, requested_by=f"actor:{actor.name}", entitled_by=(holder.record,))

    def approve_update(
        self, csr: UnprovenCSR, holder: Holder, actor: RegistrationClient, old: Holder
    ) -> Approved:
        """Return what a registration client may have made in place of somebody else's certificate `old`.

        The same names in the same profile; both certificates must be active still when it is issued.
        Raises `NotAuthorizedError`, `NotFoundError`, and `RefusedError` for other names.
        """
        profile = self._awaiting_approval(actor, old.record.profile)
        return Approved(
            profile,
            same_identity(profile, old.certificate, csr),
            requested_by=f"actor:{actor.name}",
            entitled_by=(holder.record, old.record),
        )

    def _awaiting_approval(self, actor: RegistrationClient, label: str) -> Profile:
        profile = enrollable(self._profiles, label)
        if not profile.approval:
            raise NotAuthorizedError(
                f"profile {label} does not await approval: a registration client asks for no others"
            )
        actor.require(label)
        return profile
