"""What the generalInfo of a header says (RFC 9810 §5.1.1.1 to §5.1.1.5)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmp.free_text import encode_free_text, parse_free_text
from protocols.cmp.info_type import InfoTypeAndValue
from protocols.cmp.message import parse_pki_messages
from protocols.errors import MalformedError


def _null(reader: Reader) -> bool:
    reader.null()
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralInfo:
    """What was said; None, False or () where it was not. `unknown` holds the types that have no field.

    `orig_pki_messages` are DER messages, not parsed; a profile of "" stands for none.
    """

    implicit_confirm: bool = False
    confirm_wait_time: datetime | None = None
    orig_pki_messages: tuple[bytes, ...] = field(default=(), repr=False)
    cert_profiles: tuple[str, ...] = ()
    unknown: tuple[InfoTypeAndValue, ...] = ()

    def infos(self) -> tuple[InfoTypeAndValue, ...]:
        """Return the InfoTypeAndValues that say this."""
        values = {
            oid.IT_IMPLICIT_CONFIRM: der.null() if self.implicit_confirm else None,
            oid.IT_CONFIRM_WAIT_TIME: der.generalized_time(self.confirm_wait_time)
            if self.confirm_wait_time
            else None,
            oid.IT_ORIG_PKI_MESSAGE: der.sequence(*self.orig_pki_messages)
            if self.orig_pki_messages
            else None,
            oid.IT_CERT_PROFILE: encode_free_text(self.cert_profiles) if self.cert_profiles else None,
        }
        known = (InfoTypeAndValue(kind, value) for kind, value in values.items() if value is not None)
        return (*known, *self.unknown)


GENERAL_INFO: Final[dict[str, tuple[str, Callable[[Reader], Any]]]] = {
    oid.IT_IMPLICIT_CONFIRM: ("implicit_confirm", _null),
    oid.IT_CONFIRM_WAIT_TIME: ("confirm_wait_time", Reader.generalized_time),
    oid.IT_ORIG_PKI_MESSAGE: ("orig_pki_messages", parse_pki_messages),
    oid.IT_CERT_PROFILE: ("cert_profiles", parse_free_text),
}


def read_general_info(infos: Iterable[InfoTypeAndValue]) -> GeneralInfo:
    """Return what a header's generalInfo says.

    `MalformedError` where a known type is repeated, has no value or one that is not of its type.
    """
    read: dict[str, Any] = {}
    unknown: list[InfoTypeAndValue] = []
    for info in infos:
        rule = GENERAL_INFO.get(info.info_type)
        if rule is None:
            unknown.append(info)
            continue
        name, parse = rule
        if name in read or info.info_value is None:
            raise MalformedError(f"{name} of generalInfo is repeated or has no value")
        read[name] = der.whole(info.info_value, parse)
    return GeneralInfo(**read, unknown=tuple(unknown))
