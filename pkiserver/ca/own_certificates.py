"""Certificates that the CA issues for itself: what it takes to issue one, and when it is due."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from config.profile import Profile
from config.schema import Settings
from config.units import Lifetime
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.identity import Identity
from pkiserver.ca.issuance import Issuance
from pkiserver.clock import Clock
from pkiserver.errors import PKIServerError, UnavailableError
from pkiserver.signer.client import Signer
from pkiserver.storage import Storage
from protocols.errors import ProtocolError

RENEW_SHARE: Final = 3  # renewed when less than a third of the lifetime is left
SYSTEM: Final = "system"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CAServices:
    """What the parts of `ca` that make certificates for the CA itself work with."""

    settings: Settings
    profiles: Mapping[str, Profile]
    storage: Storage
    signer: Signer
    clock: Clock
    authorities: Authorities
    issuance: Issuance

    async def issue(
        self,
        profile: str,
        authority: str,
        identity: Identity,
        public_key: CertificatePublicKeyTypes,
        lifetime: Lifetime | None = None,
        *,
        until_issuer_ends: bool = False,
        validity: tuple[datetime, datetime] | None = None,
    ) -> x509.Certificate:
        """Return the active certificate of this key and profile, issued earlier or now.

        With `until_issuer_ends` its lifetime is cut where it would outlive its issuer; else that is refused.
        `validity` is notBefore and notAfter where they are those of another certificate (links of a root).
        """
        request = AuthorizedRequest(
            profile=self.profiles[profile],
            authority=authority,
            identity=identity,
            public_key=public_key,
            requested_by=SYSTEM,
            lifetime=lifetime,
            until_issuer_ends=until_issuer_ends,
            validity=validity,
        )
        certificate = x509.load_der_x509_certificate(await self.issuance.issue_once(request))
        if until_issuer_ends:
            self._warn_of_cut(profile, authority, certificate)
        return certificate

    def _warn_of_cut(self, profile: str, authority: str, certificate: x509.Certificate) -> None:
        end = self.authorities.get(authority).certificate.not_valid_after_utc
        if certificate.not_valid_after_utc == end:
            _log.warning(
                "certificate-ends-with-its-issuer",
                authority=authority,
                profile=profile,
                until=end.isoformat(),
            )


def renewal_due(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    """Return whether less than a third of a certificate's lifetime is left, and the issuer outlives it."""
    end = certificate.not_valid_after_utc
    if end >= issuer.not_valid_after_utc:
        return False
    return end - now < (end - certificate.not_valid_before_utc) / RENEW_SHARE


@dataclass(slots=True)
class Attempts:
    """Works on what is due, one thing after another; what fails does not hold up the rest."""

    made: bool = False
    _failures: list[str] = field(default_factory=list)

    async def attempt(self, name: str, work: Awaitable[None]) -> None:
        """Do one thing; an error is kept for `finish`."""
        try:
            await work
        except (PKIServerError, ProtocolError, OSError) as error:
            self._failures.append(f"{name}: {error}")
        else:
            self.made = True

    def finish(self) -> bool:
        """Return whether anything was made; `UnavailableError` names everything that could not be."""
        if self._failures:
            raise UnavailableError("; ".join(self._failures))
        return self.made
