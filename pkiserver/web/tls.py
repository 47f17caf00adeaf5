"""The TLS side of the HTTPS listener: which versions, suites and client certificates are taken."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pkiserver.errors import PKIServerError

# TLS 1.2: forward secrecy and AEAD only. The suites of TLS 1.3 are all of that kind.
_TLS_1_2_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TLSSetupError(PKIServerError):
    """The server's TLS certificate, its key or the client CAs cannot be used."""


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """What the HTTPS listener shows and whom it trusts.

    `certificate_file` is PEM: the server's certificate, then its chain. `client_cas` are DER certificates,
    each a trust anchor by itself; without one, no client certificate is asked for.
    """

    certificate_file: Path
    key_file: Path
    key_passphrase: bytes | None = field(default=None, repr=False)
    client_cas: Sequence[bytes] = ()


def tls_context(settings: TLSSettings) -> ssl.SSLContext:
    """Return the server's TLS context; `TLSSetupError` where files or certificates are unusable.

    A client certificate is optional and verified when given. Its status is not: a resumed session skips the
    handshake, so whoever uses the certificate asks for its status at every request.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    # Each holds the client's certificate, and making it is a fifth of a handshake: one, not OpenSSL's two.
    context.num_tickets = 1
    try:
        # Never None: OpenSSL would ask for the passphrase on the terminal.
        context.load_cert_chain(
            settings.certificate_file, settings.key_file, password=settings.key_passphrase or b""
        )
        if settings.client_cas:
            context.load_verify_locations(cadata=b"".join(settings.client_cas))
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not usable"
        raise TLSSetupError(
            f"TLS certificate {settings.certificate_file} with key {settings.key_file}: {reason}"
        ) from error
    return context
