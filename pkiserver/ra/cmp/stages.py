"""The stages of a CMP message on its way: each has its type, so that no step can be left out.

bytes -> `PKIMessage` (protocols.cmp) -> `CheckedMessage` -> `Request` -> `Reply` -> bytes
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pkiserver.errors import PKIServerError
from pkiserver.ra.cmp.senders import Sender
from protocols.cmp.bodies import PKIBody
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.header import Version
from protocols.cmp.message import PKIMessage
from protocols.cmp.status import PKIStatusInfo
from protocols.errors import ProtocolError
from store.cmp_transactions import CMPTransaction

NONCE_OCTETS: Final = 16  # RFC 9483 §3.1: 128 bits
NOTHING_SAID: Final = GeneralInfo()
Refusal = PKIServerError | ProtocolError
RefusedAs = Callable[[BaseException], PKIStatusInfo]  # how a client is told of an error


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message came in: the operation and the profile of the path, the address it is counted by."""

    operation: str | None
    profile: str | None
    peer: str


@dataclass(frozen=True, slots=True)
class CheckedMessage:
    """A message whose header holds what it must (`header_checks`); nothing of it is authentic yet."""

    message: PKIMessage
    info: GeneralInfo
    transaction_id: bytes
    sender_nonce: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """An authentic message with the transaction that it belongs to, None where it begins one.

    `nonce_key` makes the senderNonces of the transaction (`nonces`).
    """

    checked: CheckedMessage
    sender: Sender
    target: Target
    now: datetime
    transaction: CMPTransaction | None
    request_sha256: bytes = field(repr=False)
    nonce_key: bytes = field(repr=False)

    @property
    def body(self) -> PKIBody:
        """The body as received."""
        return self.checked.message.body

    @property
    def takes_envelopes(self) -> bool:
        """Whether the answer may hold EnvelopedData: in pvno 2 it cannot (RFC 9810 §7)."""
        return self.pvno >= Version.CMP2021

    @property
    def pvno(self) -> Version:
        """The version, which is that of its answer."""
        return Version(self.checked.message.header.pvno)

    @property
    def key(self) -> tuple[bytes, str]:
        """What its transaction is known by: transactionID and sender."""
        return self.checked.transaction_id, self.sender.id

    @property
    def profile(self) -> str | None:
        """The profile that is asked for: by the path, or else by certProfile (RFC 9810 §5.1.1.4).

        In a transaction it is that of its first message: no poll, and nobody who changes its path, which
        nothing protects, makes another of it.
        """
        if self.transaction is not None:
            return self.transaction.profile
        named = self.checked.info.cert_profiles
        return self.target.profile or (named[0] if named else None) or None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. `certificates` go into extraCerts, after those of the signer.

    `refusals` are those inside the body, to be audited; a reply that is one refusal has the body `error`.
    `message` is a whole message that goes out as it is, since it answers what was nested, not what it was in.
    `pvno` None is that of the message that is answered; a poll in another version gets that of the request.
    """

    body: PKIBody
    info: GeneralInfo = NOTHING_SAID
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    refusals: tuple[Refusal, ...] = ()
    message: bytes | None = field(default=None, repr=False)
    pvno: Version | None = None


Handler = Callable[[Request], Awaitable[Reply]]
