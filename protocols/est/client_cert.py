"""The Client-Cert field of a proxy that ended the client's TLS (RFC 9440 §2.2): a byte sequence."""

import binascii
from collections.abc import Sequence
from typing import Final

from protocols.asn1 import der
from protocols.errors import MalformedError, TooLargeError

CLIENT_CERT: Final = "Client-Cert"
MAX_CLIENT_CERT_CHARACTERS: Final = 8_190  # certificates of clients take under 4,000


def parse_client_cert(values: Sequence[str]) -> bytes:
    """Return the DER of the one certificate in the values of the field, as many as were received.

    Only that it is one SEQUENCE is checked. `MalformedError` unless there is exactly one value and it is
    an sf-binary without parameters (RFC 8941 §3.3.5), `TooLargeError` over the bound.
    """
    if len(values) != 1:
        raise MalformedError("Client-Cert stands more than once (RFC 9440 §2.2)")
    value = values[0].strip(" ")
    if len(value) > MAX_CLIENT_CERT_CHARACTERS:
        raise TooLargeError(f"Client-Cert is longer than {MAX_CLIENT_CERT_CHARACTERS} characters")
    if len(value) < 2 or not (value.startswith(":") and value.endswith(":")):
        raise MalformedError("Client-Cert is not a byte sequence, base64 between colons (RFC 9440 §2.2)")
    try:
        certificate = binascii.a2b_base64(value[1:-1], strict_mode=True)
    except ValueError as error:  # binascii.Error, and text that is not ASCII
        raise MalformedError("Client-Cert is not base64 between colons (RFC 9440 §2.2)") from error
    reader = der.Reader(certificate)
    reader.read(der.SEQUENCE)
    reader.finish()
    return certificate
