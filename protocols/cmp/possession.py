"""ProofOfPossession (RFC 4211 §4, RFC 9810 §5.2.8), as it is sent; the server checks whether it holds."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.general_name import parse_general_name
from protocols.cmp.tagging import bits_under, implicit, sequence_under
from protocols.errors import MalformedError

_RA_VERIFIED: Final = der.context(0, constructed=False)
_SIGNATURE: Final = der.context(1)
_KEY_ENCIPHERMENT: Final = der.context(2)
_KEY_AGREEMENT: Final = der.context(3)
_POPOSK_INPUT: Final = der.context(0)
_THIS_MESSAGE: Final = der.context(0, constructed=False)
_SUBSEQUENT_MESSAGE: Final = der.context(1, constructed=False)
_DH_MAC: Final = der.context(2, constructed=False)
_AGREE_MAC: Final = der.context(3)
_ENCRYPTED_KEY: Final = der.context(4)


@dataclass(frozen=True, slots=True)
class PKMACValue:
    """A MAC over a public key or a request (§4.1, §4.2)."""

    algorithm: AlgorithmIdentifier
    value: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PKMACValue."""
        fields = reader.enter()
        mac = cls(AlgorithmIdentifier.parse(fields), fields.bit_string())
        fields.finish()
        return mac

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(self.algorithm.encode(), der.bit_string(self.value))


@dataclass(frozen=True, slots=True)
class POPOSigningKeyInput:
    """What is signed where the template lacks subject or key (§4.1).

    `sender` is a DER GeneralName; either it or `public_key_mac` is there. `der` is what the signature covers:
    the SEQUENCE, as OpenSSL and Bouncy Castle take it.
    """

    sender: bytes | None
    public_key_mac: PKMACValue | None
    public_key: bytes = field(repr=False)
    der: bytes = field(repr=False)

    @classmethod
    def of_sender(cls, sender: bytes, public_key: bytes) -> Self:
        """Return the input of a sender whose name, a DER GeneralName, is known by other means."""
        return cls(sender, None, public_key, der.sequence(der.explicit(0, sender), public_key))

    @classmethod
    def of_mac(cls, mac: PKMACValue, public_key: bytes) -> Self:
        """Return the input of a sender that shares a secret with the authority."""
        return cls(None, mac, public_key, der.sequence(mac.encode(), public_key))

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a POPOSigningKeyInput."""
        whole = reader.look().read_raw(der.SEQUENCE)
        fields = reader.enter()
        sender = der.optional(fields, 0, parse_general_name)
        public_key_mac = PKMACValue.parse(fields) if sender is None else None
        public_key = fields.read_raw(der.SEQUENCE)
        fields.finish()
        return cls(sender, public_key_mac, public_key, whole)


@dataclass(frozen=True, slots=True)
class RAVerified:
    """An RA's word that it verified possession (§4)."""

    def encode(self) -> bytes:
        """Return the DER of the CHOICE ProofOfPossession."""
        return der.encode(_RA_VERIFIED, b"")


@dataclass(frozen=True, slots=True)
class POPOSigningKey:
    """A signature by the key itself (§4.1), over `poposk_input` where there is one, else over certReq."""

    algorithm: AlgorithmIdentifier
    signature: bytes = field(repr=False)
    poposk_input: POPOSigningKeyInput | None = None

    @classmethod
    def parse(cls, fields: Reader) -> Self:
        """Read the fields of a POPOSigningKey."""
        poposk_input = None
        if fields.peek() == _POPOSK_INPUT:
            poposk_input = der.whole(sequence_under(fields, _POPOSK_INPUT), POPOSigningKeyInput.parse)
        return cls(AlgorithmIdentifier.parse(fields), fields.bit_string(), poposk_input)

    def encode(self) -> bytes:
        """Return the DER of the CHOICE ProofOfPossession."""
        signed = implicit(_POPOSK_INPUT, self.poposk_input.der) if self.poposk_input else b""
        return der.encode(_SIGNATURE, signed + self.algorithm.encode() + der.bit_string(self.signature))


class SubsequentMessage(IntEnum):
    """How possession will be proved in a later message (§4.2)."""

    ENCR_CERT = 0
    CHALLENGE_RESP = 1


@dataclass(frozen=True, slots=True)
class ThisMessage:
    """The private key itself, in an EncryptedValue (§4.2); deprecated."""

    bits: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the DER of the CHOICE POPOPrivKey."""
        return der.encode(_THIS_MESSAGE, b"\x00" + self.bits)


@dataclass(frozen=True, slots=True)
class DHMAC:
    """A MAC by a key agreed upon, without its algorithm (§4.2); deprecated."""

    bits: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the DER of the CHOICE POPOPrivKey."""
        return der.encode(_DH_MAC, b"\x00" + self.bits)


@dataclass(frozen=True, slots=True)
class Subsequent:
    """Possession will be proved later."""

    message: SubsequentMessage

    def encode(self) -> bytes:
        """Return the DER of the CHOICE POPOPrivKey."""
        return der.encode(_SUBSEQUENT_MESSAGE, der.integer_content(self.message))


@dataclass(frozen=True, slots=True)
class AgreeMAC:
    """A MAC over certReq by a key agreed upon (§4.3)."""

    mac: PKMACValue

    def encode(self) -> bytes:
        """Return the DER of the CHOICE POPOPrivKey."""
        return implicit(_AGREE_MAC, self.mac.encode())


@dataclass(frozen=True, slots=True)
class EnvelopedPrivateKey:
    """The private key itself, in a DER EnvelopedData, to be archived (encryptedKey)."""

    enveloped_data: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the DER of the CHOICE POPOPrivKey."""
        return implicit(_ENCRYPTED_KEY, self.enveloped_data)


POPOPrivKey = ThisMessage | Subsequent | DHMAC | AgreeMAC | EnvelopedPrivateKey


def _parse_popo_priv_key(reader: Reader) -> POPOPrivKey:
    match reader.peek():
        case tag if tag == _SUBSEQUENT_MESSAGE:
            value = reader.integer(tag)
            if value not in tuple(SubsequentMessage):
                raise MalformedError(f"{value} is no SubsequentMessage")
            return Subsequent(SubsequentMessage(value))
        case tag if tag == _AGREE_MAC:
            return AgreeMAC(der.whole(sequence_under(reader, tag), PKMACValue.parse))
        case tag if tag == _ENCRYPTED_KEY:
            return EnvelopedPrivateKey(sequence_under(reader, tag))
        case tag if tag == _THIS_MESSAGE:
            return ThisMessage(bits_under(reader, tag))
        case tag if tag == _DH_MAC:
            return DHMAC(bits_under(reader, tag))
        case _:
            raise MalformedError("a POPOPrivKey is none of its kinds")


@dataclass(frozen=True, slots=True)
class KeyEncipherment:
    """Of a key that decrypts (§4.2)."""

    method: POPOPrivKey

    def encode(self) -> bytes:
        """Return the DER of the CHOICE ProofOfPossession."""
        return der.encode(_KEY_ENCIPHERMENT, self.method.encode())


@dataclass(frozen=True, slots=True)
class KeyAgreement:
    """Of a key that agrees upon others (§4.3)."""

    method: POPOPrivKey

    def encode(self) -> bytes:
        """Return the DER of the CHOICE ProofOfPossession."""
        return der.encode(_KEY_AGREEMENT, self.method.encode())


ProofOfPossession = RAVerified | POPOSigningKey | KeyEncipherment | KeyAgreement


def parse_proof_of_possession(reader: Reader) -> ProofOfPossession:
    """Read a ProofOfPossession."""
    tag = reader.peek()
    if tag == _RA_VERIFIED:
        if reader.read(_RA_VERIFIED):
            raise MalformedError("raVerified is not NULL")
        return RAVerified()
    if tag not in (_SIGNATURE, _KEY_ENCIPHERMENT, _KEY_AGREEMENT):
        raise MalformedError("a proof of possession is none of its kinds")
    fields = reader.enter(tag)
    proof: ProofOfPossession
    if tag == _SIGNATURE:
        proof = POPOSigningKey.parse(fields)
    else:
        method = _parse_popo_priv_key(fields)
        proof = KeyEncipherment(method) if tag == _KEY_ENCIPHERMENT else KeyAgreement(method)
    fields.finish()
    return proof
