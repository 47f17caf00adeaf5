"""The key that serverkeygen delivers (RFC 7030 §4.4): how it is packed, and how it may be encrypted."""

from collections.abc import Mapping, Sequence
from typing import Final

from protocols.asn1 import der
from protocols.errors import ErrorKind, ProtocolError
from protocols.x509.request_attributes import SMIMECapability

_NONE_OR_NULL: Final = (None, der.null())


class NoCommonAlgorithmError(ProtocolError):
    """The client names no algorithm by which its key may be encrypted (RFC 7030 §4.4.1)."""

    kind = ErrorKind.BAD_REQUEST


def asymmetric_key_package(private_key_info: bytes) -> bytes:
    """Return the AsymmetricKeyPackage (id-ct-KP-aKeyPackage) of one DER PrivateKeyInfo (RFC 5958 §2)."""
    return der.sequence(private_key_info)


def choose_key_encryption(
    capabilities: Sequence[SMIMECapability], offered: Mapping[str, bytes | None]
) -> str:
    """Return the first algorithm of the client's SMIMECapabilities that is offered, by its parameters.

    `offered` is `KEY_TRANSPORT` or `KEY_WRAP` of `protocols.cms.enveloped_data`, or a part. Absent or NULL
    parameters of a capability stand for any. `NoCommonAlgorithmError` where there is none.
    """
    for capability in capabilities:
        if capability.capability_id not in offered:
            continue
        parameters = capability.parameters
        if parameters in _NONE_OR_NULL or parameters == offered[capability.capability_id]:
            return capability.capability_id
    raise NoCommonAlgorithmError(
        "the SMIMECapabilities of the request name no key encryption that is served (RFC 7030 §4.4.1)"
    )
