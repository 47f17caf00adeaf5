"""What is asked of issuance: all that a certificate needs, from somebody who was entitled to ask."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from config.profile import Profile
from config.units import Lifetime
from pkiserver.ca.identity import Identity
from store.database import Transaction
from store.records import CertificateRecord, IssuanceRecord

Reserved = Callable[[Transaction, IssuanceRecord], None]  # takes part in the transaction of the intent


@dataclass(frozen=True, slots=True)
class AuthorizedRequest:
    """A request that somebody was entitled to make; made by `ra` and by the hierarchy's own needs."""

    profile: Profile
    authority: str
    identity: Identity
    public_key: CertificatePublicKeyTypes
    requested_by: str
    credential: int | None = None
    enrollment: int | None = None  # whose approval it uses up
    entitled_by: tuple[CertificateRecord, ...] = ()  # active still: what is shown, and what is updated
    key_made_here: bool = False  # its certificate is of no use to anybody unless the key is delivered
    signed_request: bytes | None = None  # SHA-256 of the message that asked: sent again, it issues nothing
    repeatable: bool = False  # `NotTakenError` where the requester has not taken what it got for this key
    reserved: Reserved | None = None  # told of the intent, to keep something beside it
    bounded: bool = False  # nobody approved how many: `MAX_RENEWALS_A_DAY` for one subject
    lifetime: Lifetime | None = None  # for the kinds of profile that leave it to the authority
    until_issuer_ends: bool = False  # cut rather than refused where it would outlive its issuer
    validity: tuple[datetime, datetime] | None = None  # instead of a lifetime: that of another certificate


def key_hash(public_key: CertificatePublicKeyTypes) -> bytes:
    """Return the SHA-256 of the SubjectPublicKeyInfo, by which a key is known in the store."""
    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
