"""The independent witness of a ceremony: named in its file, and later a signature over its transcript.

EN 319 411-1 §6.5.1 (GEN-6.5.1-14): the report on a root's key is signed also by somebody trustworthy who is
independent of the provider's management, such as a notary or an auditor.
"""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from pkiserver.ceremony.detached import signers_of, spki
from pkiserver.ceremony.inputs import CeremonyFile, read_certificate
from pkiserver.ceremony.quorum import RegisteredOperator, require_valid
from pkiserver.errors import NotAuthorizedError, NotFoundError, RefusedError
from protocols.errors import ProtocolError


def witness_certificate(
    file: CeremonyFile, operators: Sequence[RegisteredOperator], now: datetime
) -> x509.Certificate | None:
    """Return the certificate of the witness whom a file names, None where it names none.

    `RefusedError` for one who is an operator too, `NotAuthorizedError` for a certificate not valid now.
    """
    named = file.ceremony.witness
    if named is None:
        return None
    certificate = read_certificate(file, named.certificate)
    if any(spki(one.certificate) == spki(certificate) for one in operators):
        raise RefusedError(f"{named.name} is an operator: a witness is independent")
    require_valid(named.name, certificate, now)
    return certificate


def check_witnessed(file: CeremonyFile, transcript: bytes, signature: bytes) -> None:
    """Return where the witness of a file signed a transcript, else `NotAuthorizedError`.

    `NotFoundError` where the file names none. The certificate may have ended since.
    """
    named = file.ceremony.witness
    if named is None:
        raise NotFoundError("the ceremony's file names no witness")
    try:
        signers_of(transcript, signature, [read_certificate(file, named.certificate)])
    except ProtocolError as error:
        raise NotAuthorizedError(f"{named.name} did not sign this transcript: {error}") from error
