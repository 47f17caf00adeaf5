"""Who asks for a certificate, as the transport saw it. Nothing of it is believed before it was checked."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Password:
    """Reference and secret of an enrolment credential, as HTTP Basic carried them."""

    reference: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Channel:
    """The way a request came: its name for people, and its tls-unique (RFC 5929 §3) where it binds."""

    name: str
    tls_unique: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Requester:
    """One client at one request.

    `peer` is the address it is counted by. `certificate` is the DER certificate whose key it showed to
    hold, to this server or to a trusted proxy; nobody but the TLS library has verified it.
    """

    peer: str
    channel: Channel
    password: Password | None = None
    certificate: bytes | None = field(default=None, repr=False)
