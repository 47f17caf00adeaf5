"""Whether enough registered operators signed a ceremony's file (m of n): detached CMS signatures.

Which certificates count is the register's word alone, and that of the CRLs of the issuers that it names.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from config.ceremony import MAX_OPERATORS, parse_operators
from pkiserver.ceremony.detached import signers_of, spki
from pkiserver.ceremony.inputs import certificate_in, read_bounded
from pkiserver.ceremony.operator_status import OperatorIssuers, read_issuers
from pkiserver.errors import NotAuthorizedError, RefusedError
from protocols.asn1 import der
from protocols.errors import ProtocolError

MAX_SIGNATURES: Final = 2 * MAX_OPERATORS


@dataclass(frozen=True, slots=True)
class RegisteredOperator:
    """Somebody who may sign ceremony files."""

    name: str
    certificate: x509.Certificate

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, in hexadecimal."""
        return self.certificate.fingerprint(SHA256()).hex()


@dataclass(frozen=True, slots=True)
class OperatorRegister:
    """Who may sign, and how many must."""

    quorum: int
    operators: tuple[RegisteredOperator, ...]
    sha256: str
    issuers: OperatorIssuers | None = None


def read_register(path: Path) -> OperatorRegister:
    """Return the register in a file; `ConfigError`, `RefusedError` where a key stands in it twice.

    Its SHA-256 is over the file and each certificate in it and of its issuers: it names the whole register,
    but for the issuers' CRLs, which follow one another.
    """
    content = read_bounded(path)
    settings = parse_operators(content, path.name)
    found = tuple(
        RegisteredOperator(
            one.name, certificate_in(read_bounded(path.parent / one.certificate), one.certificate)
        )
        for one in settings.operators
    )
    issuers = None if settings.issuers is None else read_issuers(path.parent / settings.issuers)
    keys = {spki(one.certificate) for one in found}
    if len(keys) != len(found):
        raise RefusedError("a key stands twice in the register of operators: a person has one voice")
    certificates = [one.certificate for one in found] + list(issuers.certificates if issuers else ())
    digest = _digest(content, *(one.public_bytes(Encoding.DER) for one in certificates))
    return OperatorRegister(settings.quorum, found, digest, issuers)


def check_quorum(
    content: bytes, signatures: Sequence[bytes], register: OperatorRegister, now: datetime
) -> tuple[RegisteredOperator, ...]:
    """Return who signed a content; `NotAuthorizedError` unless enough operators did, each counted once.

    Each signature must be sound and an operator's, whose certificate is valid now and not revoked: a wrong
    one is refused, not passed over.
    """
    if len(signatures) > MAX_SIGNATURES:
        raise NotAuthorizedError("more signatures than a ceremony may have")
    signed: dict[str, RegisteredOperator] = {}
    for number, signature in enumerate(signatures, start=1):
        for operator in _signers(content, signature, register, now, number):
            signed[operator.fingerprint] = operator
    if len(signed) < register.quorum:
        raise NotAuthorizedError(
            f"{len(signed)} of {register.quorum} operators signed the file: nothing is made"
        )
    return tuple(signed.values())


def _signers(
    content: bytes, signature: bytes, register: OperatorRegister, now: datetime, number: int
) -> list[RegisteredOperator]:
    known = {one.certificate: one for one in register.operators}
    try:
        found = [known[one] for one in signers_of(content, signature, tuple(known))]
    except ProtocolError as error:
        raise NotAuthorizedError(
            f"signature {number} is not one of a registered operator over this file: {error}"
        ) from error
    for operator in found:
        require_valid(operator.name, operator.certificate, now)
        if register.issuers is not None:
            register.issuers.require_unrevoked(operator.name, operator.certificate, now)
    return found


def require_valid(name: str, certificate: x509.Certificate, now: datetime) -> None:
    """Raise `NotAuthorizedError` unless somebody's certificate is valid now (RFC 5280 §4.1.2.5)."""
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise NotAuthorizedError(f"the certificate of {name} is not valid now")


def _digest(*parts: bytes) -> str:
    """Return the SHA-256 over some octet strings one after another, each in DER so that none runs over."""
    return hashlib.sha256(b"".join(map(der.octet_string, parts))).hexdigest()
