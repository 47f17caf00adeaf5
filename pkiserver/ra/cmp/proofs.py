"""Proof of possession in CMP requests (RFC 4211 §4, RFC 9810 §5.2.8)."""

from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.cmp.errors import BadCertTemplateError
from pkiserver.ra.cmp.senders import MACSender, Sender
from pkiserver.ra.cmp.wanted import Wanted
from protocols.cmp.crmf import CertReqMsg, POPOSigningKey, POPOSigningKeyInput, RAVerified
from protocols.cmp.mac import PBMParameter
from protocols.cmp.protection import read_protection
from protocols.errors import BadMACError, BadPOPError
from protocols.x509.csr import ParsedCSR
from protocols.x509.possession import verify_possession
from protocols.x509.spki import PublicKey, read_public_key


def proven_key(wanted: Wanted, sender: Sender, sender_name: bytes, *, is_ra: bool) -> PublicKey:
    """Return the public key of a request whose holder is known to have the private one.

    `sender_name` is the DER GeneralName of the header. raVerified is the word of a registration client, and
    nobody else's (`NotAuthorizedError`). `BadPOPError`, `BadCertTemplateError` and what `read_public_key`
    raises.
    """
    if isinstance(wanted.csr, ParsedCSR):
        return wanted.csr.public_key
    message = wanted.message
    if message is None or message.cert_req.template.public_key is None:
        raise BadCertTemplateError("the template has no public key: keys are not made for this request")
    public_key = read_public_key(message.cert_req.template.public_key)
    match message.popo:
        case RAVerified():
            if not is_ra:
                raise NotAuthorizedError("raVerified is a registration client's word: prove possession")
        case POPOSigningKey() as proof:
            verify_possession(
                public_key,
                proof.algorithm.encode(),
                _signed(message, proof, sender, sender_name),
                proof.signature,
            )
        case None:
            raise BadPOPError("possession of the key is not proved")
        case _:
            raise BadPOPError("a key that signs proves possession by a signature (RFC 4211 §4.1)")
    return public_key


def _signed(message: CertReqMsg, proof: POPOSigningKey, sender: Sender, sender_name: bytes) -> bytes:
    """Return what the proof is a signature of: the request as received, or poposkInput (RFC 4211 §4.1)."""
    signed = proof.poposk_input
    if signed is None:
        return message.cert_req.der
    if signed.public_key != message.cert_req.template.public_key:
        raise BadPOPError("poposkInput and the template have two public keys")
    _require_authentic(signed, sender, sender_name)
    return signed.der


def _require_authentic(signed: POPOSigningKeyInput, sender: Sender, sender_name: bytes) -> None:
    """Hold authInfo to the sender: a signer names itself, who knows a secret makes a MAC of the key."""
    if isinstance(sender, MACSender):
        _require_mac(signed, sender)
    elif signed.sender != sender_name:
        raise BadPOPError("the sender in poposkInput is not the one of the header")


def _require_mac(signed: POPOSigningKeyInput, sender: MACSender) -> None:
    mac = signed.public_key_mac
    if mac is None:
        raise BadPOPError("poposkInput holds no MAC of the public key (RFC 4211 §4.1)")
    parameters = read_protection(mac.algorithm)
    if not isinstance(parameters, PBMParameter):
        raise BadPOPError("publicKeyMAC is no PasswordBasedMac (RFC 4211 §4.4)")
    try:
        parameters.key_of(sender.secret).verify(signed.public_key, mac.value)
    except BadMACError as error:
        raise BadPOPError("publicKeyMAC was not made with the secret of the credential") from error
