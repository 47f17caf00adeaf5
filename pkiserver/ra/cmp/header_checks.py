"""What the header of every message must hold before anything else is looked at (RFC 9483 §3.5)."""

from datetime import datetime
from typing import Final

from config.schema_cmp import CMP
from pkiserver.errors import RefusedError
from pkiserver.ra.cmp.errors import (
    BadDataFormatError,
    BadSenderNonceError,
    BadTimeError,
    UnsupportedVersionError,
)
from pkiserver.ra.cmp.stages import NONCE_OCTETS, CheckedMessage
from protocols import oid
from protocols.asn1 import der
from protocols.cmp.bodies import BodyType
from protocols.cmp.general_info import GeneralInfo, read_general_info
from protocols.cmp.header import PKIHeader, Version
from protocols.cmp.message import PKIMessage

SUPPORTED: Final = (Version.CMP2000, Version.CMP2021)
TRANSACTION_ID_OCTETS: Final = 16  # RFC 9483 §3.1: 128 bits
MAX_OCTETS: Final = 64  # of transactionID and nonces; what is longer only fills the store


def require_version(header: PKIHeader) -> None:
    """Raise `UnsupportedVersionError` for another version than 2 and 3 (RFC 9810 §7)."""
    if header.pvno not in SUPPORTED:
        raise UnsupportedVersionError(f"version {header.pvno} is not served: there are 2 and 3")


def check_header(message: PKIMessage, settings: CMP, now: datetime) -> CheckedMessage:
    """Return a message whose header is in order; each fault has the error that RFC 9483 §3.5 names."""
    header = message.header
    transaction_id = header.transaction_id
    if transaction_id is None or not TRANSACTION_ID_OCTETS <= len(transaction_id) <= MAX_OCTETS:
        raise BadDataFormatError("transactionID is missing or not of 128 bits (RFC 9483 §3.1)")
    if header.sender_nonce is None or not NONCE_OCTETS <= len(header.sender_nonce) <= MAX_OCTETS:
        raise BadSenderNonceError("senderNonce is missing or not of 128 bits (RFC 9483 §3.1)")
    _check_time(header.message_time, settings, now)
    info = _general_info(header)
    if message.body.tag is not BodyType.NESTED and len(info.orig_pki_messages) > 1:
        raise RefusedError("origPKIMessage holds one message, but of nested ones (RFC 9810 §5.1.1.3)")
    return CheckedMessage(message, info, transaction_id, header.sender_nonce)


def _check_time(message_time: datetime | None, settings: CMP, now: datetime) -> None:
    if message_time is None:
        if settings.require_message_time:
            raise BadTimeError("messageTime is missing")
    elif abs(message_time - now) > settings.message_time_window:
        raise BadTimeError(f"messageTime is too far from the time here, {now:%Y-%m-%dT%H:%M:%SZ}")


def _general_info(header: PKIHeader) -> GeneralInfo:
    """Read generalInfo; RFC 9810 §5.1.1.1 has implicitConfirm be NULL, and §5.1.1.2 stand without a time."""
    for info in header.general_info:
        if info.info_type == oid.IT_IMPLICIT_CONFIRM and info.info_value != der.null():
            raise RefusedError("implicitConfirm is not NULL (RFC 9810 §5.1.1.1)")
    said = read_general_info(header.general_info)
    if said.implicit_confirm and said.confirm_wait_time is not None:
        raise RefusedError("implicitConfirm and confirmWaitTime exclude each other (RFC 9483 §3.1)")
    return said
