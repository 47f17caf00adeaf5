"""What a path that names an operation may be sent: that operation's messages (RFC 9483 §6.1).

A path is what proxies and firewalls let through or not; so no other operation is had by it. What only goes on
with a transaction, or ends it, goes to the path that began it, whichever that was.
"""

from collections.abc import Mapping
from typing import Final

from pkiserver.errors import RefusedError
from pkiserver.ra.cmp.transactions import KINDS, Kind
from protocols import oid
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.general import parse_general_message

BODIES: Final[Mapping[str, BodyType]] = {
    "initialization": BodyType.IR,
    "certification": BodyType.CR,
    "keyupdate": BodyType.KUR,
    "pkcs10": BodyType.P10CR,
    "revocation": BodyType.RR,
    "getcacerts": BodyType.GENM,
    "getrootupdate": BodyType.GENM,
    "getcertreqtemplate": BodyType.GENM,
    "getcrls": BodyType.GENM,
    "nested": BodyType.NESTED,
}
INFO_TYPES: Final[Mapping[str, str]] = {
    "getcacerts": oid.IT_CA_CERTS,
    "getrootupdate": oid.IT_ROOT_CA_CERT,
    "getcertreqtemplate": oid.IT_CERT_REQ_TEMPLATE,
    "getcrls": oid.IT_CRL_STATUS_LIST,
}
_GOES_ON: Final = frozenset({Kind.CONFIRMATION, Kind.POLL, Kind.ABORTION, Kind.CHALLENGE_RESPONSE})


def require_operation(operation: str | None, body: PKIBody) -> None:
    """Raise `RefusedError` where a path names another operation than the message is of; None names none.

    Nested messages pass wherever they come: each message inside is held to `operation_inside`.
    """
    if operation is None or body.tag is BodyType.NESTED or KINDS[body.tag] in _GOES_ON:
        return
    if body.tag is not BODIES[operation]:
        raise RefusedError(f"{body.tag.name} is not sent to the path of {operation} (RFC 9483 §6.1)")
    if operation in INFO_TYPES:
        types = {one.info_type for one in parse_general_message(body.content_der)}
        if types != {INFO_TYPES[operation]}:
            raise RefusedError(f"something else is asked than the path says, {operation} (RFC 9483 §4.3)")


def operation_inside(operation: str | None) -> str | None:
    """Return the operation that messages inside a nested one are held to.

    An RA that only adds its protection sends to the path of what is inside (RFC 9483 §5.2.2.1); `nested` says
    nothing of it.
    """
    return None if operation == "nested" else operation
