"""How a key that was made here is encrypted on its way, beyond TLS (RFC 7030 §4.4.1, §4.4.2).

By a key that the client shares with the operator, or for a certificate of ours of the same subject. Which
one is found before a key is made: what cannot be encrypted as asked is refused, never sent in clear.
"""

import asyncio
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pkiserver.clock import Clock
from pkiserver.errors import RefusedError
from pkiserver.storage import Storage
from protocols import oid
from protocols.cms.content_info import SubjectKeyIdentifier
from protocols.cms.enveloped_data import (
    CONTENT_KEY_OCTETS,
    IV_OCTETS,
    KEY_TRANSPORT,
    KEY_WRAP,
    WRAP_KEY_OCTETS,
    RecipientInfo,
    enveloped_data,
    kek_recipient,
    key_agree_recipient,
    key_trans_recipient,
)
from protocols.est.server_key import choose_key_encryption
from protocols.x509.csr import UnprovenCSR
from protocols.x509.names import subject_text
from store import certificates

MAX_CERTIFICATES: Final = 200  # of one subject that are looked at, the newest first
_UNUSABLE: Final = "the key of this DecryptKeyIdentifier cannot be used: tell the operator"
MAX_KEY_FILE_BYTES: Final = 128  # 32 octets in hexadecimal, and a line end


@dataclass(frozen=True, slots=True)
class KeyProtection:
    """One recipient; `name` is for the audit log."""

    name: str
    cipher: str
    recipient: Callable[[bytes], RecipientInfo]

    def encrypt(self, signed_data: bytes) -> bytes:
        """Return the DER ContentInfo of an EnvelopedData around the DER of a SignedData."""
        content_key = secrets.token_bytes(CONTENT_KEY_OCTETS[self.cipher])
        return enveloped_data(
            oid.PKCS7_SIGNED_DATA,
            signed_data,
            self.recipient(content_key),
            cipher=self.cipher,
            content_key=content_key,
            initialisation_vector=secrets.token_bytes(IV_OCTETS),
        )


class KeyProtections:
    """Finds the recipient that a request names. `folder` holds the keys that clients share with us."""

    def __init__(self, storage: Storage, clock: Clock, folder: Path) -> None:
        self._storage = storage
        self._clock = clock
        self._folder = folder

    async def find(self, csr: UnprovenCSR, subject: x509.Name) -> KeyProtection | None:
        """Return how the key of a certificate for `subject` is to be encrypted, None where by TLS alone.

        `RefusedError` where the key that the request names is not known or not for that,
        `NoCommonAlgorithmError` where it names no algorithm that is served for it.
        """
        by_shared_key, by_certificate = csr.decrypt_key_identifier, csr.asymmetric_decrypt_key_identifier
        if by_shared_key is not None and by_certificate is not None:
            raise RefusedError("the request names both a DecryptKeyIdentifier and an asymmetric one")
        if by_shared_key is not None:
            return await self._shared(csr, by_shared_key)
        if by_certificate is not None:
            return await self._certified(csr, by_certificate, subject)
        return None

    async def _shared(self, csr: UnprovenCSR, identifier: bytes) -> KeyProtection:
        kek = await asyncio.to_thread(_shared_key, self._folder, identifier)
        wrap = next(wrap for wrap, octets in WRAP_KEY_OCTETS.items() if octets == len(kek))
        choose_key_encryption(csr.smime_capabilities, {wrap: None})
        return KeyProtection(
            f"shared key {identifier.hex()}",
            _cipher(csr),
            lambda content_key: kek_recipient(identifier, kek, content_key),
        )

    async def _certified(self, csr: UnprovenCSR, identifier: bytes, subject: x509.Name) -> KeyProtection:
        key = await self._public_key(identifier, subject)
        rid = SubjectKeyIdentifier(identifier)
        name = f"certificate with subjectKeyIdentifier {identifier.hex()}"
        if isinstance(key, rsa.RSAPublicKey):
            transport = choose_key_encryption(csr.smime_capabilities, KEY_TRANSPORT)
            return KeyProtection(
                name,
                _cipher(csr),
                lambda content_key: key_trans_recipient(rid, key, transport, content_key),
            )
        wrap = choose_key_encryption(csr.smime_capabilities, KEY_WRAP)
        return KeyProtection(
            name,
            _cipher(csr),
            lambda content_key: key_agree_recipient(
                rid, key, ec.generate_private_key(key.curve), wrap, content_key
            ),
        )

    async def _public_key(
        self, identifier: bytes, subject: x509.Name
    ) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
        """Return the key of a current certificate of the same subject (RFC 7030 §4.4.1.2)."""
        text, now = subject_text(subject), self._clock.now()
        records = await self._storage.read(lambda tx: certificates.of_subject(tx, text, MAX_CERTIFICATES))
        for record in records:
            if record.state != "active" or now > record.not_after:
                continue
            certificate = x509.load_der_x509_certificate(record.certificate)
            found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            if found.digest == identifier:
                return _key_for_encryption(certificate)
        raise RefusedError(
            "no current certificate of this subject has the key that AsymmetricDecryptKeyIdentifier names"
        )


def _key_for_encryption(certificate: x509.Certificate) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if isinstance(key, rsa.RSAPublicKey) and usage.key_encipherment:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and usage.key_agreement:
        return key
    raise RefusedError(
        "the certificate that AsymmetricDecryptKeyIdentifier names is not for keyEncipherment (RSA) or"
        " keyAgreement (elliptic curves), as RFC 7030 §4.4.1.2 asks"
    )


def _cipher(csr: UnprovenCSR) -> str:
    """Return AES-256 for who can read it; AES-128 everybody must (RFC 8551 §2.7)."""
    named = {one.capability_id for one in csr.smime_capabilities}
    return oid.AES256_CBC if oid.AES256_CBC in named else oid.AES128_CBC


def _shared_key(folder: Path, identifier: bytes) -> bytes:
    """Return the key of a file named by its identifier; `RefusedError` where there is none that is usable."""
    unknown = "no key is known here under the DecryptKeyIdentifier of the request (RFC 7030 §4.4.1.1)"
    try:
        with (folder / f"{identifier.hex()}.key").open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise RefusedError(unknown) from error
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError as error:
        raise RefusedError(_UNUSABLE) from error
    if mode & stat.S_IRWXO or len(key) not in WRAP_KEY_OCTETS.values():
        raise RefusedError(_UNUSABLE)
    return key
