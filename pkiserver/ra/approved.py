"""What somebody was found entitled to, before it is known for which key."""

from dataclasses import dataclass

from config.profile import Profile
from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.identity import Identity
from pkiserver.ra.credentials import issuer_name
from protocols.x509.spki import PublicKey
from store.records import CertificateRecord


@dataclass(frozen=True, slots=True)
class Approved:
    """An identity that was held to its profile, and by whose right; see `AuthorizedRequest`."""

    profile: Profile
    identity: Identity
    requested_by: str
    credential: int | None = None
    entitled_by: tuple[CertificateRecord, ...] = ()
    bounded: bool = False

    def request(
        self, public_key: PublicKey, *, key_made_here: bool = False, signed_request: bytes | None = None
    ) -> AuthorizedRequest:
        """Return the request for a key; one that was made here is bounded, however it was approved."""
        return AuthorizedRequest(
            profile=self.profile,
            authority=issuer_name(self.profile),
            identity=self.identity,
            public_key=public_key,
            requested_by=self.requested_by,
            credential=self.credential,
            entitled_by=self.entitled_by,
            bounded=self.bounded or key_made_here,
            key_made_here=key_made_here,
            signed_request=signed_request,
        )
