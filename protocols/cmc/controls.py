"""The controls of a Full PKI Request (RFC 5272 §6, RFC 6402 §2.2): one table of those known, others kept.

Final servers must fail a request with a control that they do not process (§3.2.1.1); `RequestControls` tells
which those are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmc.body_parts import MAX_BODY_PARTS, TaggedAttribute, parse_body_part_id
from protocols.cmc.status import MAX_BODY_LIST, CMCStatusInfo, parse_path, parse_reference, utf8_text
from protocols.cms.content_info import IssuerAndSerialNumber
from protocols.errors import MalformedError, TooLargeError

MAX_OCTETS: Final = 4096  # of nonces, tokens, witnesses and opaque data: what comes back in responses
MAX_TRANSACTION_ID_BITS: Final = 512  # clients use hashes of keys
MAX_IDENTIFICATION_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class IdentityProofV2:
    """A MAC over reqSequence by a shared secret (§6.2.1)."""

    proof_algorithm: AlgorithmIdentifier
    mac_algorithm: AlgorithmIdentifier
    witness: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an IdentityProofV2."""
        fields = reader.enter()
        proof = cls(AlgorithmIdentifier.parse(fields), AlgorithmIdentifier.parse(fields), _octets(fields))
        fields.finish()
        return proof

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            self.proof_algorithm.encode(), self.mac_algorithm.encode(), der.octet_string(self.witness)
        )


@dataclass(frozen=True, slots=True)
class LraPopWitness:
    """An RA's word that it verified the possession of these requests' keys (§6.8)."""

    pki_data_body_id: int
    body_ids: tuple[int, ...]

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a LraPopWitness."""
        fields = reader.enter()
        witness = cls(
            parse_body_part_id(fields),
            der.repeated(
                fields.enter(), parse_body_part_id, at_most=MAX_BODY_PARTS, what="body parts in a witness"
            ),
        )
        fields.finish()
        return witness


def _octets(reader: Reader) -> bytes:
    octets = reader.octet_string()
    if len(octets) > MAX_OCTETS:
        raise TooLargeError(f"a control holds more than {MAX_OCTETS} bytes")
    return octets


def _transaction_id(reader: Reader) -> int:
    value = reader.integer()
    if value.bit_length() > MAX_TRANSACTION_ID_BITS:
        raise TooLargeError(f"transactionId is longer than {MAX_TRANSACTION_ID_BITS} bits")
    return value


def _identification(reader: Reader) -> str:
    return utf8_text(reader, MAX_IDENTIFICATION_CHARS)


def _control_processed(reader: Reader) -> tuple[int | tuple[int, ...], ...]:
    fields = reader.enter()
    references = der.repeated(
        fields.enter(), parse_reference, at_most=MAX_BODY_LIST, what="body parts that were processed"
    )
    fields.finish()
    return references


@dataclass(frozen=True, slots=True)
class RequestControls:
    """What the controls of a request say; None, or (), where one is not there.

    `unprocessed` holds the controls that are not known, or known and not read here: where the server is the
    final one and they are not in `control_processed`, the request fails with badRequest (§3.2.1.1).
    """

    status_info_v2: CMCStatusInfo | None = None
    identification: str | None = None
    identity_proof: bytes | None = field(default=None, repr=False)
    identity_proof_v2: IdentityProofV2 | None = None
    data_return: bytes | None = field(default=None, repr=False)
    transaction_id: int | None = None
    sender_nonce: bytes | None = field(default=None, repr=False)
    recipient_nonce: bytes | None = field(default=None, repr=False)
    lra_pop_witness: LraPopWitness | None = None
    reg_info: bytes | None = field(default=None, repr=False)
    response_info: bytes | None = field(default=None, repr=False)
    query_pending: bytes | None = field(default=None, repr=False)
    pop_link_random: bytes | None = field(default=None, repr=False)
    confirm_cert_acceptance: IssuerAndSerialNumber | None = None
    control_processed: tuple[int | tuple[int, ...], ...] = ()
    ra_identity_witness: tuple[int, ...] = ()
    unprocessed: tuple[TaggedAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlRule:
    """How a control is called in RFC 5272 table 1, and, where it is read, its field and its type."""

    name: str
    field: str | None = None
    parse: Callable[[Reader], Any] | None = None


CONTROLS: Final[dict[str, ControlRule]] = {
    oid.CMC_STATUS_INFO: ControlRule("statusInfo"),
    oid.CMC_IDENTIFICATION: ControlRule("identification", "identification", _identification),
    oid.CMC_IDENTITY_PROOF: ControlRule("identityProof", "identity_proof", _octets),
    oid.CMC_DATA_RETURN: ControlRule("dataReturn", "data_return", _octets),
    oid.CMC_TRANSACTION_ID: ControlRule("transactionId", "transaction_id", _transaction_id),
    oid.CMC_SENDER_NONCE: ControlRule("senderNonce", "sender_nonce", _octets),
    oid.CMC_RECIPIENT_NONCE: ControlRule("recipientNonce", "recipient_nonce", _octets),
    oid.CMC_ADD_EXTENSIONS: ControlRule("addExtensions"),
    oid.CMC_ENCRYPTED_POP: ControlRule("encryptedPOP"),
    oid.CMC_DECRYPTED_POP: ControlRule("decryptedPOP"),
    oid.CMC_LRA_POP_WITNESS: ControlRule("lraPOPWitness", "lra_pop_witness", LraPopWitness.parse),
    oid.CMC_GET_CERT: ControlRule("getCert"),
    oid.CMC_GET_CRL: ControlRule("getCRL"),
    oid.CMC_REVOKE_REQUEST: ControlRule("revokeRequest"),
    oid.CMC_REG_INFO: ControlRule("regInfo", "reg_info", _octets),
    oid.CMC_RESPONSE_INFO: ControlRule("responseInfo", "response_info", _octets),
    oid.CMC_QUERY_PENDING: ControlRule("queryPending", "query_pending", _octets),
    oid.CMC_POP_LINK_RANDOM: ControlRule("popLinkRandom", "pop_link_random", _octets),
    oid.CMC_POP_LINK_WITNESS: ControlRule("popLinkWitness"),  # belongs among the attributes of a PKCS #10
    oid.CMC_CONFIRM_CERT_ACCEPTANCE: ControlRule(
        "confirmCertAcceptance", "confirm_cert_acceptance", IssuerAndSerialNumber.parse
    ),
    oid.CMC_STATUS_INFO_V2: ControlRule("statusInfoV2", "status_info_v2", CMCStatusInfo.parse_v2),
    oid.CMC_TRUSTED_ANCHORS: ControlRule("trustedAnchors"),
    oid.CMC_AUTH_DATA: ControlRule("authData"),
    oid.CMC_BATCH_REQUESTS: ControlRule("batchRequests"),
    oid.CMC_BATCH_RESPONSES: ControlRule("batchResponses"),
    oid.CMC_PUBLISH_CERT: ControlRule("publishCert"),
    oid.CMC_MOD_CERT_TEMPLATE: ControlRule("modCertTemplate"),
    oid.CMC_CONTROL_PROCESSED: ControlRule("controlProcessed", "control_processed", _control_processed),
    oid.CMC_POP_LINK_WITNESS_V2: ControlRule("popLinkWitnessV2"),
    oid.CMC_IDENTITY_PROOF_V2: ControlRule("identityProofV2", "identity_proof_v2", IdentityProofV2.parse),
    oid.CMC_RA_IDENTITY_WITNESS: ControlRule("raIdentityWitness", "ra_identity_witness", parse_path),
    oid.CMC_RESPONSE_BODY: ControlRule("responseBody"),
}


def read_controls(controls: Iterable[TaggedAttribute]) -> RequestControls:
    """Return what controls say; `MalformedError` where one that is read is repeated or not of its type."""
    read: dict[str, Any] = {}
    unprocessed: list[TaggedAttribute] = []
    for control in controls:
        rule = CONTROLS.get(control.attr_type)
        if rule is None or rule.field is None or rule.parse is None:
            unprocessed.append(control)
            continue
        if rule.field in read:
            raise MalformedError(f"control {rule.name} is repeated")
        read[rule.field] = der.whole(control.single_value(), rule.parse)
    return RequestControls(**read, unprocessed=tuple(unprocessed))
