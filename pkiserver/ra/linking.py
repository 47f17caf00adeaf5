"""Linking of identity and proof of possession, as the profile asks for it (RFC 7030 §3.5)."""

from typing import Final

from config.profile import Profile
from pkiserver.errors import NotLinkedError
from pkiserver.ra.requester import Channel
from protocols.est.pop_linking import check_channel_binding
from protocols.x509.csr import UnprovenCSR

_DIRECTLY: Final = "connect directly, over TLS 1.2, without resuming a session"


def require_linking(profile: Profile, csr: UnprovenCSR, channel: Channel) -> None:
    """Verify a challengePassword where there is one, and miss it where the profile requires it.

    `BadPOPError` for a wrong one; `NotLinkedError` says what to do where none can be verified: one that is
    passed over would let the client believe that its request is bound to the connection.
    """
    if csr.challenge_password is not None:
        if channel.tls_unique is None:
            raise NotLinkedError(
                f"the challengePassword cannot be verified over {channel.name}: leave it out, or {_DIRECTLY}"
            )
        check_channel_binding(csr.challenge_password, channel.tls_unique)
    elif profile.pop_linking == "required":
        advice = f"; {channel.name} cannot give it: {_DIRECTLY}" if channel.tls_unique is None else ""
        raise NotLinkedError(
            f"profile {profile.name} requires tls-unique in the challengePassword (RFC 7030 §3.5){advice}"
        )
