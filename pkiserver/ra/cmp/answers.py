"""The messages that are sent: their headers, and the protection that the request had (RFC 9483 §3.1 to §3.3).

A MAC is answered by a MAC of the same key, everything else by the signature of the CMP server.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from pkiserver.ca.message_signer import MessageSigner
from pkiserver.ra.cmp.header_checks import SUPPORTED
from pkiserver.ra.cmp.senders import MACSender, Sender
from pkiserver.ra.cmp.stages import NONCE_OCTETS, Reply
from protocols.cmp.general_name import NULL_DN, directory_name, general_name
from protocols.cmp.header import PartialHeader, PKIHeader, Version
from protocols.cmp.message import finish_message, protected_part_of
from protocols.cmp.protection import mac_protected
from protocols.errors import ProtocolError
from protocols.x509.names import read_name

MAX_ECHOED_OCTETS: Final = 64  # of what was not looked at: transactionID and nonce of a broken message


class Answers:
    """Builds and protects answers; one a server."""

    def __init__(self, message_signer: MessageSigner) -> None:
        self._message_signer = message_signer

    async def message(
        self,
        to: PKIHeader | PartialHeader,
        reply: Reply,
        sender: Sender | None,
        *,
        server_nonce: bytes | None,
        now: datetime,
    ) -> bytes:
        """Return the DER PKIMessage that answers a message with this header.

        `sender` None: nobody was authenticated. `UnavailableError` where it cannot be signed now.
        """
        header = PKIHeader(
            pvno=reply.pvno or (Version(to.pvno) if to.pvno in SUPPORTED else Version.CMP2000),
            recipient=_recipient(to.sender),
            message_time=now,
            transaction_id=_echoed(to.transaction_id) or secrets.token_bytes(NONCE_OCTETS),
            sender_nonce=server_nonce or secrets.token_bytes(NONCE_OCTETS),
            recip_nonce=_echoed(to.sender_nonce),
            general_info=reply.info.infos(),
        )
        if isinstance(sender, MACSender):
            return await self._by_mac(sender, header, reply)
        return await self._signed(header, reply)

    async def _by_mac(self, sender: MACSender, header: PKIHeader, reply: Reply) -> bytes:
        header = replace(
            header,
            sender=general_name(await self._message_signer.name()),
            # RFC 9483 §3.1: of a MAC it names the secret, in either direction.
            sender_kid=sender.credential.reference.encode(),
        )
        return mac_protected(header, reply.body, sender.key, reply.certificates)

    async def _signed(self, header: PKIHeader, reply: Reply) -> bytes:
        identity = await self._message_signer.identity()
        header = replace(
            header,
            sender=general_name(identity.name),
            protection_alg=identity.algorithm,
            sender_kid=identity.key_identifier,
        )
        part = protected_part_of(header, reply.body)
        signature = await self._message_signer.sign_as(identity, part)
        return finish_message(part, signature, _each_once((*identity.chain, *reply.certificates)))


def _recipient(sender: bytes | None) -> bytes:
    """Return the sender of a request where it is a Name that can be read, else the NULL-DN.

    What we sign or protect is well-formed whatever it answers; the parser of messages looks at no names.
    """
    try:
        name = None if sender is None else directory_name(sender)
        if sender is None or name is None:
            return NULL_DN
        read_name(name)
    except ProtocolError:
        return NULL_DN
    return sender


def _echoed(octets: bytes | None) -> bytes | None:
    return octets if octets is not None and len(octets) <= MAX_ECHOED_OCTETS else None


def _each_once(certificates: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(certificates))
