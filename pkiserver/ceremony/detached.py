"""Detached CMS signatures over files of a ceremony (RFC 5652 §5.2): who signed, of those who may.

Which certificates count is the caller's word alone. What a signature brings along is not believed.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocols.cms.content_info import read_content_info
from protocols.cms.signed_data import SignedData
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.errors import BadSignatureError, MalformedError
from protocols.x509.spki import read_public_key

_PEM: Final = re.compile(rb"\s*-----BEGIN (CMS|PKCS7)-----\s(.*)\s-----END \1-----\s*", re.DOTALL)


def signers_of(
    content: bytes, signature: bytes, certificates: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """Return whose signatures over `content` are in a message, DER or PEM: at least one's.

    Every signer in it must be one of `certificates` and have signed these octets, else a `ProtocolError`.
    """
    message = replace(SignedData.from_content_info(read_content_info(_der(signature))), content=content)
    if not message.signer_infos:
        raise BadSignatureError("the message has no signer")
    known = {one.public_bytes(Encoding.DER): one for one in certificates}
    message = replace(message, certificates=tuple(known))
    found = []
    for signer in message.signer_infos:
        named = signer_certificate(message, signer)
        if named is None:
            raise BadSignatureError("a signer is none of those who may sign")
        verify_signer(message, signer, read_public_key(spki(known[named])))
        found.append(known[named])
    return found


def spki(certificate: x509.Certificate) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a certificate: two of one key have the same."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _der(signature: bytes) -> bytes:
    """Return a signature in DER; PEM is what `openssl cms -outform PEM` writes."""
    match = _PEM.fullmatch(signature)
    try:
        return signature if match is None else base64.b64decode(match[2])
    except binascii.Error as error:
        raise MalformedError("the PEM holds no base64") from error
