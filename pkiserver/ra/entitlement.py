"""What a first enrolment is entitled to: the profile, and the identity that was approved for it.

By an enrolment credential, by the certificate of a trusted third party, or by both, as the profile says
(`est_authentication`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from config.profile import Profile
from pkiserver.ca.identity import Identity, approve_identity
from pkiserver.errors import ChallengeError, NotAuthorizedError
from pkiserver.ra.approved import Approved
from pkiserver.ra.client_certificates import Device, Holder
from pkiserver.ra.credentials import enrollable
from protocols.x509.csr import UnprovenCSR
from protocols.x509.names import parse_san, parse_subject
from store.records import CertificateRecord, CredentialRecord


@dataclass(frozen=True, slots=True)
class Entitlement:
    """Made by who proved to be entitled; `approved` is still to be held to the profile and the request."""

    profile: Profile
    approved: Identity
    credential: CredentialRecord | None = None
    entitled_by: tuple[CertificateRecord, ...] = ()  # of ours, that must stay active meanwhile

    def hold(self, csr: UnprovenCSR, requested_by: str) -> Approved:
        """Hold what was approved to the profile and the request; `RefusedError` names what does not fit."""
        identity = approve_identity(
            self.profile,
            approved_subject=self.approved.subject,
            approved_san=self.approved.san,
            requested_subject=csr.subject,
            requested_san=csr.san,
            limit_mnt=self.approved.limit_mnt,
        )
        return Approved(
            self.profile,
            identity,
            requested_by,
            credential=self.credential.id if self.credential else None,
            entitled_by=self.entitled_by,
            bounded=self.credential is None,
        )


def by_credential(
    profiles: Mapping[str, Profile],
    credential: CredentialRecord,
    client: Holder | Device | None,
    label: str | None,
) -> Entitlement:
    """Return what a credential entitles to, with the client certificate where the profile wants both."""
    if label is not None and label != credential.profile:
        enrollable(profiles, label)
        raise NotAuthorizedError(f"this credential is for profile {credential.profile}, not {label}")
    profile = enrollable(profiles, credential.profile)
    approved = Identity(
        parse_subject(credential.subject),
        tuple(parse_san(text) for text in credential.san),
        credential.limit_mnt,
    )
    if "credential" in profile.est_authentication:
        return Entitlement(profile, approved, credential)
    if "credential+certificate" not in profile.est_authentication:
        raise NotAuthorizedError(f"profile {profile.name} is enrolled with a client certificate alone")
    return Entitlement(profile, approved, credential, _second_factor(profile, client))


def wants_certificate(profiles: Mapping[str, Profile], credential: CredentialRecord) -> bool:
    """Return whether the client certificate is looked at beside this credential."""
    profile = profiles.get(credential.profile)
    return profile is not None and "credential" not in profile.est_authentication


def _second_factor(profile: Profile, client: Holder | Device | None) -> tuple[CertificateRecord, ...]:
    """Hold the client certificate to the profile: of its trusted issuers, or of ours where it names none."""
    if client is None:
        raise NotAuthorizedError(
            f"profile {profile.name} is enrolled with a credential and a client certificate: connect with one"
        )
    if isinstance(client, Holder):
        if profile.trusted_issuers:
            raise NotAuthorizedError(f"profile {profile.name} wants a client certificate of a trusted issuer")
        return (client.record,)
    if profile.name not in client.profiles:
        raise NotAuthorizedError(f"profile {profile.name} does not trust the client certificate's issuer")
    return ()


def by_certificate(
    profiles: Mapping[str, Profile], client: Holder | Device, label: str | None
) -> Entitlement:
    """Return what a client certificate alone entitles to.

    `ChallengeError` where a credential is needed. Without a label the profile is the only one that trusts
    the certificate's issuer.
    """
    trusting = client.profiles if isinstance(client, Device) else frozenset()
    if label is None:
        chosen = [profiles[name] for name in sorted(trusting)]
        if not chosen:
            raise ChallengeError("a certificate of this CA enrols nothing without a credential")
        if len(chosen) > 1:
            names = ", ".join(profile.name for profile in chosen)
            raise NotAuthorizedError(f"say for which profile in the path (RFC 7030 §3.2.2): {names}")
        profile = chosen[0]
    else:
        profile = enrollable(profiles, label)
    suffices = "certificate" in profile.est_authentication
    if isinstance(client, Device) and profile.name in trusting and suffices:
        return Entitlement(profile, Identity(client.subject))
    if set(profile.est_authentication) == {"certificate"}:
        raise NotAuthorizedError(f"profile {profile.name} does not trust the client certificate's issuer")
    raise ChallengeError(f"profile {profile.name} is enrolled with a credential")
