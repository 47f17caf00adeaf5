"""The application that a holder signs: JSON in a CMS SignedData (RFC 5652), read and held to its rules. Pure.

    {"type": "renewal", "challenge": "...", "profile": "citizen-signature", "carrier": "id_card",
     "use": "est", "form": {the fields of IUB-41}}

Signed are the octets as they were sent, so they need no canonical form.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from cryptography import x509

from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.ra.credentials import Use
from pkiserver.ra.registration.applications import CARRIERS, PROFILES
from pkiserver.ra.registration.challenges import CHARACTERS
from protocols import oid
from protocols.cms.content_info import read_content_info
from protocols.cms.ess import require_named, signing_time
from protocols.cms.signed_data import SignedData
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.errors import BadSignatureError, MalformedError, TooLargeError
from protocols.x509.certificate import TBSCertificate, read_certificate
from protocols.x509.spki import read_public_key

MAX_MESSAGE_BYTES: Final = 24 << 10  # a form takes 1 KiB, a chain with RSA keys 6 KiB
MAX_FORM_BYTES: Final = 8 << 10
_TEXTS: Final = frozenset({"type", "challenge", "profile", "carrier", "use"})
_KEYS: Final = _TEXTS | {"form"}


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class SignedForm:
    """A form whose signature was verified: with the key of `certificate`, which is yet to be believed."""

    certificate: bytes
    signed_at: datetime
    challenge: str
    profile: str
    carrier: str
    use: Use
    fields: Mapping[str, object]


def read_signed_form(message: bytes) -> SignedForm:
    """Return the form in a CMS message with exactly one signer.

    `TooLargeError`, `MalformedError`, `BadSignatureError` (also for SHA-1, a detached or other content, no
    signed attributes), `RefusedError` for several signers or another JSON, `NotAuthorizedError` where the
    certificate is not for signatures.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise TooLargeError(f"a signed application has at most {MAX_MESSAGE_BYTES} bytes")
    signed_data = SignedData.from_content_info(read_content_info(message))
    if signed_data.content_type != oid.PKCS7_DATA:
        raise BadSignatureError("the signed content is not id-data")
    if len(signed_data.signer_infos) != 1:
        raise RefusedError("an application has exactly one signer, its applicant")
    signer = signed_data.signer_infos[0]
    certificate = signer_certificate(signed_data, signer)
    if certificate is None:
        raise BadSignatureError("the signer's certificate is not in the message")
    _require_signs(certificate)
    key = read_public_key(TBSCertificate.of_certificate(certificate).spki_der)
    verify_signer(signed_data, signer, key)
    require_named(signer.signed_attributes, certificate)
    return _form(signed_data.content or b"", certificate, signing_time(signer.signed_attributes))


def _require_signs(certificate: bytes) -> None:
    try:
        usage = read_certificate(certificate).extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise NotAuthorizedError("the signer's certificate does not say what its key is for") from error
    if not (usage.content_commitment or usage.digital_signature):
        raise NotAuthorizedError("the signer's certificate is not for signatures")


def _form(content: bytes, certificate: bytes, signed_at: datetime) -> SignedForm:
    if len(content) > MAX_FORM_BYTES:
        raise TooLargeError(f"the form has at most {MAX_FORM_BYTES} bytes")
    values = _json(content)
    if set(values) != _KEYS or not all(isinstance(values[one], str) for one in _TEXTS):
        raise RefusedError(f"a signed application has exactly {', '.join(sorted(_KEYS))}")
    fields = values["form"]
    if values["type"] != "renewal" or not isinstance(fields, dict) or len(values["challenge"]) != CHARACTERS:
        raise RefusedError("the signed text is no application for renewal")
    return SignedForm(
        certificate=certificate,
        signed_at=signed_at,
        challenge=values["challenge"],
        profile=_one_of("profile", values["profile"], PROFILES),
        carrier=_one_of("carrier", values["carrier"], CARRIERS),
        use=_use(values["use"]),
        fields=fields,
    )


def _one_of(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise RefusedError(f"the {what} of a renewal is one of {', '.join(known)}")
    return value


def _use(value: str) -> Literal["est", "cmp"]:
    if value == "est":
        return "est"
    if value == "cmp":
        return "cmp"
    raise RefusedError("the use of a renewal is est or cmp")


def _json(content: bytes) -> dict[str, Any]:
    """Return the object that the octets are, no name in it twice: what is signed has one meaning."""
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError("the signed text is no JSON in UTF-8 with each name once") from error
    if not isinstance(found, dict):
        raise MalformedError("the signed text is no JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_constant(_name: str) -> None:
    raise ValueError
