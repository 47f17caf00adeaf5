"""CMP messages of OpenSSL and Bouncy Castle: read, built again, held against pyasn1's RFC 9810, verified."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc9810

from protocols import oid
from protocols.asn1 import der
from protocols.cmp.bodies import BodyType
from protocols.cmp.certificates import CertRepMessage
from protocols.cmp.confirmation import PKI_CONFIRM, build_cert_confirm, parse_cert_confirm, parse_pki_confirm
from protocols.cmp.crmf import (
    KeyAgreement,
    KeyEncipherment,
    POPOSigningKey,
    RAVerified,
    Subsequent,
    SubsequentMessage,
    build_cert_req_messages,
    parse_cert_req_messages,
    read_controls,
)
from protocols.cmp.general import build_general_message, parse_general_message
from protocols.cmp.general_info import read_general_info
from protocols.cmp.general_name import NULL_DN
from protocols.cmp.info_type import InfoTypeAndValue
from protocols.cmp.mac import MACBounds
from protocols.cmp.message import (
    PKIMessage,
    build_pki_message,
    parse_nested,
    parse_pki_message,
    protected_part,
)
from protocols.cmp.polling import (
    PollRep,
    build_poll_rep,
    build_poll_req,
    parse_poll_rep,
    parse_poll_req,
)
from protocols.cmp.protection import mac_protected, verify_mac, verify_signature
from protocols.cmp.revocation import RevRepContent, build_rev_req, parse_rev_req
from protocols.cmp.status import ErrorMsgContent, PKIFailureInfo, PKIStatus, PKIStatusInfo
from protocols.errors import BadMACError, BadSignatureError, UnsupportedAlgorithmError
from protocols.x509.possession import verify_possession
from protocols.x509.spki import read_public_key

VECTORS = Path(__file__).parent.parent / "vectors" / "cmp"
SECRET = b"vector"
MESSAGES = sorted(path.stem for path in VECTORS.glob("*.der") if not path.stem.endswith("_key"))
NEW = "CN=New,C=MN"

Codec = tuple[Callable[[bytes], Any], Callable[[Any], bytes]]


def of(kind: type[Any]) -> Codec:
    """Return both ways of a body that is one structure."""
    return lambda content: der.whole(content, kind.parse), lambda value: value.encode()


CRMF: Codec = (parse_cert_req_messages, build_cert_req_messages)
GENERAL: Codec = (parse_general_message, build_general_message)
CODECS: dict[BodyType, Codec] = {
    BodyType.IR: CRMF,
    BodyType.IP: of(CertRepMessage),
    BodyType.CR: CRMF,
    BodyType.CP: of(CertRepMessage),
    BodyType.P10CR: (bytes, bytes),
    BodyType.KUR: CRMF,
    BodyType.KUP: of(CertRepMessage),
    BodyType.RR: (parse_rev_req, build_rev_req),
    BodyType.RP: of(RevRepContent),
    BodyType.PKICONF: (parse_pki_confirm, lambda _: PKI_CONFIRM),
    BodyType.NESTED: (
        lambda content: der.whole(content, lambda reader: reader.read_raw(der.SEQUENCE)),
        lambda value: value,
    ),
    BodyType.GENM: GENERAL,
    BodyType.GENP: GENERAL,
    BodyType.ERROR: of(ErrorMsgContent),
    BodyType.CERT_CONF: (parse_cert_confirm, build_cert_confirm),
    BodyType.POLL_REQ: (parse_poll_req, build_poll_req),
    BodyType.POLL_REP: (parse_poll_rep, build_poll_rep),
}


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.der").read_bytes()


def message(name: str) -> PKIMessage:
    return parse_pki_message(vector(name))


def content(name: str) -> Any:
    body = message(name).body
    return CODECS[body.tag][0](body.content_der)


@pytest.mark.parametrize("name", MESSAGES)
def test_both_ways(name: str) -> None:
    received = message(name)
    parse, build = CODECS[received.body.tag]

    assert received.header.encode() == received.header_der
    assert received.body.encode() == received.body_der
    assert build(parse(received.body.content_der)) == received.body.content_der
    rebuilt = build_pki_message(received.header, received.body, received.protection, received.extra_certs)
    assert rebuilt == vector(name) == received.der


@pytest.mark.parametrize("name", MESSAGES)
def test_pyasn1_reads_the_same(name: str) -> None:
    received = message(name)
    independent, rest = decode(vector(name), asn1Spec=rfc9810.PKIMessage())

    assert not rest
    assert encode(independent) == received.der
    header = independent["header"]
    assert int(header["pvno"]) == received.header.pvno == 2
    assert encode(header["sender"]) == received.header.sender
    assert bytes(header["transactionID"]) == received.header.transaction_id
    assert bytes(header["senderNonce"]) == received.header.sender_nonce
    assert header["messageTime"].asDateTime == received.header.message_time
    assert independent["body"].getName().lower() == received.body.tag.name.lower().replace("_", "")
    part = rfc9810.ProtectedPart()
    part["header"], part["body"] = header, independent["body"]
    assert encode(part) == protected_part(received)


# ---- what they say


def test_ir_of_openssl() -> None:
    header = message("openssl_ir_pbm").header
    (request,) = content("openssl_ir_pbm")
    template = request.cert_req.template

    assert x509.Name.from_bytes(header.sender_name or b"").rfc4514_string() == NEW
    assert x509.Name.from_bytes(header.recipient_name or b"").rfc4514_string() == "CN=CA,C=MN"
    assert (header.sender_kid, header.recip_kid, header.recip_nonce) == (b"4711", None, None)
    assert len(header.transaction_id or b"") == len(header.sender_nonce or b"") == 16
    assert header.free_text == header.general_info == ()
    assert request.cert_req.cert_req_id == 0
    assert x509.Name.from_bytes(template.subject).rfc4514_string() == NEW
    assert template.issuer is template.serial_number is template.version is template.signing_alg is None
    assert (template.validity.not_after - template.validity.not_before).days == 30
    assert [extension.oid for extension in template.extensions] == [oid.SUBJECT_ALT_NAME]
    assert request.cert_req.controls == request.reg_info == ()


@pytest.mark.parametrize(
    "name",
    [
        "openssl_ir_pbm",
        "openssl_cr_p256",
        "openssl_kur",
        "bouncy_castle_ir_pbm",
        "bouncy_castle_cr_poposk_input",
    ],
)
def test_rfc4211_4_1_proof_by_signature(name: str) -> None:
    for request in content(name):
        proof = request.popo
        assert isinstance(proof, POPOSigningKey)
        key = read_public_key(request.cert_req.template.public_key)
        signed = proof.poposk_input.der if proof.poposk_input else request.cert_req.der
        verify_possession(key, proof.algorithm.encode(), signed, proof.signature)


def test_rfc4211_4_1_poposk_input_by_sender_and_by_mac() -> None:
    by_sender, by_mac = (request.popo.poposk_input for request in content("bouncy_castle_cr_poposk_input"))

    assert by_sender.sender == message("bouncy_castle_cr_poposk_input").header.sender
    assert by_sender.public_key_mac is by_mac.sender is None
    assert by_mac.public_key_mac.algorithm.oid == oid.PASSWORD_BASED_MAC
    assert [request.cert_req.cert_req_id for request in content("bouncy_castle_cr_poposk_input")] == [1, 2]


@pytest.mark.parametrize(
    ("name", "proof"),
    [
        ("openssl_ir_ra_verified", RAVerified()),
        ("openssl_ir_encr_cert", KeyEncipherment(Subsequent(SubsequentMessage.ENCR_CERT))),
        ("bouncy_castle_ir_challenge", KeyAgreement(Subsequent(SubsequentMessage.CHALLENGE_RESP))),
        ("rfc4211_4_no_proof", None),
    ],
)
def test_other_proofs(name: str, proof: Any) -> None:
    assert [request.popo for request in content(name)] == [proof]


def test_controls_of_bouncy_castle() -> None:
    (request,) = content("bouncy_castle_ir_pbm")
    controls = read_controls(request.cert_req.controls)

    assert (controls.reg_token, controls.authenticator, controls.unknown) == ("token", "mother", ())
    assert "mother" not in repr(controls)


def test_kur_names_the_old_certificate() -> None:
    (request,) = content("openssl_kur")
    certificate = x509.load_der_x509_certificate(message("openssl_kur").extra_certs[0])
    old = read_controls(request.cert_req.controls).old_cert_id

    assert old is not None
    assert (old.issuer_name, old.serial_number) == (
        certificate.issuer.public_bytes(),
        certificate.serial_number,
    )


@pytest.mark.parametrize(("name", "reason"), [("openssl_rr_hold", 6), ("openssl_rr_remove", 8)])
def test_rr(name: str, reason: int) -> None:
    (details,) = content(name)
    certificate = x509.load_der_x509_certificate(message(name).extra_certs[0])
    (extension,) = details.crl_entry_details

    assert (details.cert_details.issuer, details.cert_details.serial_number) == (
        certificate.issuer.public_bytes(),
        certificate.serial_number,
    )
    assert (extension.oid, extension.value) == (oid.CRL_REASON, der.enumerated(reason))


@pytest.mark.parametrize(
    ("name", "implicit", "others"),
    [
        ("openssl_cr_p256", True, ()),
        ("openssl_cp_implicit", True, ()),
        ("openssl_cr_rsa_sha512", False, ()),
        ("openssl_genm_empty", False, (InfoTypeAndValue("1.2.3", der.integer(7)),)),
    ],
)
def test_general_info(name: str, implicit: bool, others: tuple[InfoTypeAndValue, ...]) -> None:
    info = read_general_info(message(name).header.general_info)

    assert (info.implicit_confirm, info.unknown) == (implicit, others)
    assert info.infos() == message(name).header.general_info


def test_genm() -> None:
    assert content("openssl_genm") == (InfoTypeAndValue(oid.IT_SIGN_KEY_PAIR_TYPES),)
    assert content("openssl_genp") == content("openssl_genm")
    assert content("openssl_genm_empty") == ()


@pytest.mark.parametrize(
    "name", ["openssl_cert_conf", "openssl_cert_conf_p10cr", "openssl_cert_conf_rejected"]
)
def test_cert_conf(name: str) -> None:
    (status,) = content(name)

    assert len(status.cert_hash) == 32
    assert status.cert_req_id == (-1 if name.endswith("p10cr") else 0)
    assert status.hash_alg is None
    if name.endswith("rejected"):
        assert status.status_info.status is PKIStatus.REJECTION
        assert status.status_info.fail_info == {PKIFailureInfo.INCORRECT_DATA}
        assert "does not match" in status.status_info.status_string[0]
    else:
        assert status.status_info == PKIStatusInfo(PKIStatus.ACCEPTED)


def test_polling() -> None:
    assert content("openssl_poll_req") == (0,)
    (answer,) = content("openssl_poll_rep")
    assert answer == PollRep(0, 1)
    (waiting,) = content("openssl_ip_waiting").response
    assert waiting.status.status is PKIStatus.WAITING
    assert waiting.certified_key_pair is None


@pytest.mark.parametrize("name", ["openssl_ip", "openssl_cp_implicit", "openssl_cp_p10cr", "openssl_kup"])
def test_a_certificate_that_is_given(name: str) -> None:
    (response,) = content(name).response
    pair = response.certified_key_pair

    assert response.status == PKIStatusInfo(PKIStatus.ACCEPTED)
    assert response.cert_req_id == (-1 if name.endswith("p10cr") else 0)
    assert x509.load_der_x509_certificate(pair.certificate).issuer.rfc4514_string() == "CN=Root,C=MN"
    assert pair.encrypted_cert is pair.private_key is pair.publication_info is None


def test_a_rejection_and_an_error() -> None:
    (rejected,) = content("openssl_ip_rejected").response
    assert rejected.status == PKIStatusInfo(
        PKIStatus.REJECTION, ("no possession",), frozenset({PKIFailureInfo.BAD_POP})
    )
    error = content("openssl_error")
    assert error.status_info.fail_info == {PKIFailureInfo.BAD_REQUEST}
    assert error.error_code == 0x1D00009E
    assert error.error_details
    assert [status.status for status in content("openssl_rp").status] == [PKIStatus.ACCEPTED]
    assert message("openssl_error").header.sender == NULL_DN


def test_rfc9810_5_1_3_5_nested() -> None:
    batch = [parse_pki_message(one) for one in parse_nested(message("bouncy_castle_nested").body)]

    assert [one.body.tag for one in batch] == [BodyType.IR, BodyType.IR]
    assert len({one.header.transaction_id for one in batch}) == 2
    for one in batch:
        verify_mac(one, SECRET)


# ---- protection

BY_MAC = [
    name
    for name in MESSAGES
    if (algorithm := message(name).header.protection_alg) and algorithm.oid == oid.PASSWORD_BASED_MAC
]
BY_CERTIFICATE = [name for name in MESSAGES if message(name).extra_certs]


@pytest.mark.parametrize("name", [name for name in BY_MAC if not name.startswith("rfc9481")])
def test_rfc9810_5_1_3_1_mac(name: str) -> None:
    received = message(name)
    key = verify_mac(received, SECRET)

    assert mac_protected(received.header, received.body, key, received.extra_certs) == received.der
    with pytest.raises(BadMACError):
        verify_mac(received, SECRET + b"!")
    with pytest.raises(BadSignatureError):
        verify_signature(received, read_public_key(vector("bouncy_castle_rsa_key")))


@pytest.mark.parametrize("name", BY_CERTIFICATE)
def test_rfc9810_5_1_3_3_signature(name: str) -> None:
    received = message(name)
    key = x509.load_der_x509_certificate(received.extra_certs[0]).public_key()

    verify_signature(received, key)  # type: ignore[arg-type]  # of a kind that a vector has
    with pytest.raises(BadSignatureError):
        verify_signature(received, read_public_key(vector("bouncy_castle_rsa_key")))
    with pytest.raises(BadMACError):
        verify_mac(received, SECRET)


@pytest.mark.parametrize("name", ["ed25519", "rsa"])
def test_signature_without_certificate(name: str) -> None:
    received = message("bouncy_castle_genm_" + {"ed25519": "ed25519", "rsa": "pss"}[name])

    verify_signature(received, read_public_key(vector(f"bouncy_castle_{name}_key")))


def test_signed_by_its_own_key() -> None:
    received = message("bouncy_castle_ir_signature")
    (request,) = content("bouncy_castle_ir_signature")

    verify_signature(received, read_public_key(request.cert_req.template.public_key))


def test_unprotected() -> None:
    received = message("openssl_ir_unprotected")

    assert received.protection is received.header.protection_alg is None
    with pytest.raises(BadMACError):
        verify_mac(received, SECRET)
    with pytest.raises(BadSignatureError):
        verify_signature(received, read_public_key(vector("bouncy_castle_rsa_key")))


@pytest.mark.parametrize("name", ["rfc9481_2_sha1_one_way_function", "rfc8018_7_1_pbmac1_by_pbes2"])
def test_refused(name: str) -> None:
    with pytest.raises(UnsupportedAlgorithmError):
        verify_mac(message(name), SECRET)


def test_every_mac_and_signature_was_tried() -> None:
    assert len(BY_MAC) > 20
    assert {"openssl_cr_p256", "openssl_cr_rsa_sha512", "openssl_kup", "openssl_rp"} <= set(BY_CERTIFICATE)


def test_mac_is_held_to_the_callers_bounds() -> None:
    with pytest.raises(UnsupportedAlgorithmError, match="iterationCount"):
        verify_mac(message("openssl_ir_pbm"), SECRET, MACBounds(min_iterations=501))
    with pytest.raises(UnsupportedAlgorithmError, match="iterationCount"):
        verify_mac(message("openssl_ir_pbm"), SECRET, MACBounds(max_iterations=499))
    verify_mac(message("openssl_ir_pbm"), SECRET, MACBounds(min_iterations=500, max_iterations=500))
