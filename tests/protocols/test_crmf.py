"""CRMF (RFC 4211): every structure both ways, against pyasn1, and what must be refused."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc4211

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import MAX_EXTENSIONS, AlgorithmIdentifier, Extension
from protocols.cmp.controls import (
    CONTROLS,
    MAX_CONTROLS,
    MAX_PUBLICATIONS,
    PubMethod,
    RequestControls,
    parse_attributes,
)
from protocols.cmp.crmf import (
    DHMAC,
    MAX_CERT_REQ_MSGS,
    AgreeMAC,
    AttributeTypeAndValue,
    CertId,
    CertReqMsg,
    CertTemplate,
    EnvelopedPrivateKey,
    KeyAgreement,
    KeyEncipherment,
    OptionalValidity,
    PKIArchiveOptions,
    PKIPublicationInfo,
    PKMACValue,
    POPOSigningKey,
    POPOSigningKeyInput,
    RAVerified,
    SinglePubInfo,
    Subsequent,
    SubsequentMessage,
    ThisMessage,
    build_cert_req_messages,
    build_cert_request,
    parse_cert_req_messages,
    read_controls,
)
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cmp.encrypted_value import EncryptedValue
from protocols.cmp.general_name import general_name
from protocols.cmp.tagging import implicit
from protocols.errors import MalformedError, ProtocolError, TooLargeError

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Тест")]).public_bytes()
SENDER = general_name(NAME)
ECDSA = AlgorithmIdentifier(oid.ECDSA_WITH_SHA256)
SHA256 = AlgorithmIdentifier(oid.SHA256, der.null())
SPKI = (Path(__file__).parent.parent / "vectors" / "cmp" / "bouncy_castle_rsa_key.der").read_bytes()
ENVELOPED = der.sequence(
    der.integer(0),
    der.set_of(
        [
            der.sequence(
                der.integer(0),
                der.sequence(NAME, der.integer(5)),
                AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null()).encode(),
                der.octet_string(b"key"),
            )
        ]
    ),
    der.sequence(
        der.oid(oid.PKCS7_DATA),
        AlgorithmIdentifier(oid.AES128_CBC, der.octet_string(bytes(16))).encode(),
        der.encode(der.context(0, constructed=False), b"encrypted"),
    ),
)
KEY_USAGE = Extension(oid.KEY_USAGE, True, bytes.fromhex("03020780"))
MAC = PKMACValue(AlgorithmIdentifier(oid.PASSWORD_BASED_MAC, der.sequence()), b"mac")
EVERY_FIELD = CertTemplate(
    version=2,
    serial_number=2**159 + 1,
    signing_alg=ECDSA,
    issuer=NAME,
    validity=OptionalValidity(datetime(2026, 11, 22, tzinfo=UTC), datetime(2051, 1, 1, tzinfo=UTC)),
    subject=NAME,
    public_key=SPKI,
    issuer_uid=b"\x00\x01",
    subject_uid=b"\x04\x10",
    extensions=(KEY_USAGE, Extension(oid.SUBJECT_KEY_IDENTIFIER, False, der.octet_string(b"x"))),
)

TEMPLATES = {
    "every field": EVERY_FIELD,
    "empty": CertTemplate(),
    "nameless subject": CertTemplate(subject=der.sequence()),
    "no issuer": CertTemplate(subject=NAME, public_key=SPKI),
    "not after": CertTemplate(
        validity=OptionalValidity(None, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC))
    ),
    "not before": CertTemplate(validity=OptionalValidity(datetime(1950, 1, 1, tzinfo=UTC))),
    "to be revoked": CertTemplate(serial_number=-1, issuer=NAME),
    "key for the server to make": CertTemplate(
        public_key=der.sequence(ECDSA.encode(), der.bit_string(b"")), subject=NAME
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_template(name: str) -> None:
    encoded = TEMPLATES[name].encode()

    assert der.whole(encoded, CertTemplate.parse) == TEMPLATES[name]
    independent, rest = decode(encoded, asn1Spec=rfc4211.CertTemplate())
    assert not rest
    if name != "nameless subject":  # pyasn1 leaves out an optional list that is empty
        assert encode(independent) == encoded


def field(number: int, content: bytes, *, constructed: bool = True) -> bytes:
    return der.encode(der.context(number, constructed=constructed), content)


SERIAL = field(1, b"\x05", constructed=False)
BAD_TEMPLATES = {
    "x690_8_9_order": field(3, NAME) + SERIAL,
    "rfc4211_5_field_twice": SERIAL + SERIAL,
    "rfc4211_5_unknown_field": field(10, b""),
    "rfc4211_5_validity_empty": field(4, b""),
    "rfc4211_5_validity_of_three": field(4, der.explicit(0, der.time(datetime(2026, 1, 1, tzinfo=UTC))) * 2),
    "rfc4211_5_issuer_implicit": field(3, b""),
    "rfc4211_5_two_issuers": field(3, NAME + NAME),
    "rfc4211_5_extensions_empty": field(9, b""),
    "rfc5280_4_2_extension_twice": field(9, KEY_USAGE.encode() * 2),
    "x690_8_3_2_serial_not_minimal": field(1, b"\x00\x05", constructed=False),
    "x690_8_3_1_serial_empty": field(1, b"", constructed=False),
    "rfc4211_5_serial_constructed": field(1, b"\x05"),
    "rfc4211_5_signing_algorithm": field(2, der.null()),
}


@pytest.mark.parametrize("rule", BAD_TEMPLATES)
def test_malformed_template_is_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        der.whole(der.sequence(BAD_TEMPLATES[rule]), CertTemplate.parse)


def test_extensions_are_bounded() -> None:
    many = tuple(Extension(f"1.2.{number}", False, b"") for number in range(MAX_EXTENSIONS + 1))
    with pytest.raises(TooLargeError):
        der.whole(CertTemplate(extensions=many).encode(), CertTemplate.parse)


MOMENTS = st.integers(-600_000_000, 250_000_000_000).map(
    lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
VALIDITIES = st.builds(OptionalValidity, st.none() | MOMENTS, MOMENTS)
BITS = st.none() | st.binary(max_size=20).map(lambda octets: b"\x00" + octets)
EXTENSIONS = st.lists(
    st.builds(
        Extension,
        st.integers(0, 2**40).map(lambda arc: f"2.5.29.{arc}"),
        st.booleans(),
        st.binary(max_size=40),
    ),
    max_size=4,
    unique_by=lambda extension: extension.oid,
).map(tuple)


@given(
    st.builds(
        CertTemplate,
        version=st.none() | st.integers(-5, 5),
        serial_number=st.none() | st.integers(-(2**170), 2**170),
        signing_alg=st.none() | st.sampled_from([ECDSA, SHA256]),
        issuer=st.sampled_from([None, NAME]),
        validity=st.none() | VALIDITIES,
        subject=st.sampled_from([None, NAME]),
        public_key=st.sampled_from([None, SPKI]),
        issuer_uid=BITS,
        subject_uid=BITS,
        extensions=EXTENSIONS,
    )
)
@settings(deadline=None)
def test_any_template_is_read_by_us_and_by_pyasn1(template: CertTemplate) -> None:
    encoded = template.encode()

    assert der.whole(encoded, CertTemplate.parse) == template
    independent, rest = decode(encoded, asn1Spec=rfc4211.CertTemplate())
    assert not rest
    assert encode(independent) == encoded


# ---- proofs

BY_SENDER = POPOSigningKeyInput.of_sender(SENDER, SPKI)
BY_MAC = POPOSigningKeyInput.of_mac(MAC, SPKI)
PROOFS = {
    "raVerified": RAVerified(),
    "signature": POPOSigningKey(ECDSA, b"signature"),
    "signature with sender": POPOSigningKey(ECDSA, b"signature", BY_SENDER),
    "signature with publicKeyMAC": POPOSigningKey(ECDSA, b"signature", BY_MAC),
    "thisMessage": KeyEncipherment(ThisMessage(b"private key")),
    "encrCert": KeyEncipherment(Subsequent(SubsequentMessage.ENCR_CERT)),
    "challengeResp": KeyEncipherment(Subsequent(SubsequentMessage.CHALLENGE_RESP)),
    "encryptedKey": KeyEncipherment(EnvelopedPrivateKey(ENVELOPED)),
    "dhMAC": KeyAgreement(DHMAC(b"mac")),
    "agreeMAC": KeyAgreement(AgreeMAC(MAC)),
    "encrCert to agree upon": KeyAgreement(Subsequent(SubsequentMessage.ENCR_CERT)),
}


@pytest.mark.parametrize("name", PROOFS)
def test_proof_of_possession(name: str) -> None:
    request = CertReqMsg(build_cert_request(0, EVERY_FIELD), PROOFS[name])
    encoded = build_cert_req_messages([request])

    assert parse_cert_req_messages(encoded) == (request,)
    independent, rest = decode(encoded, asn1Spec=rfc4211.CertReqMessages())
    assert not rest
    assert encode(independent) == encoded
    assert encode(independent[0]["certReq"]) == request.cert_req.der


@pytest.mark.parametrize("poposk_input", [BY_SENDER, BY_MAC], ids=["sender", "publicKeyMAC"])
def test_rfc4211_4_1_what_poposk_input_has_signed(poposk_input: POPOSigningKeyInput) -> None:
    independent, rest = decode(poposk_input.der, asn1Spec=rfc4211.POPOSigningKeyInput())

    assert not rest
    assert encode(independent) == poposk_input.der
    assert der.whole(poposk_input.der, POPOSigningKeyInput.parse) == poposk_input


BAD_PROOFS = {
    "rfc4211_4_unknown_proof": field(4, b""),
    "rfc4211_4_ra_verified_not_null": field(0, b"\x00", constructed=False),
    "rfc4211_4_1_without_signature": field(1, ECDSA.encode()),
    "rfc4211_4_1_more_than_a_signature": field(1, ECDSA.encode() + der.bit_string(b"x") + der.null()),
    "rfc4211_4_1_signature_not_of_octets": field(1, ECDSA.encode() + bytes.fromhex("03020180")),
    "rfc4211_4_1_input_without_key": field(
        1, field(0, der.explicit(0, SENDER)) + ECDSA.encode() + der.bit_string(b"x")
    ),
    "rfc4211_4_1_input_without_sender": field(1, field(0, SPKI) + ECDSA.encode() + der.bit_string(b"x")),
    "rfc4211_4_2_unknown_way": field(2, field(5, b"")),
    "rfc4211_4_2_unknown_subsequent_message": field(2, field(1, b"\x02", constructed=False)),
    "rfc4211_4_2_no_way": field(2, b""),
    "rfc4211_4_2_two_ways": field(2, field(1, b"\x00", constructed=False) * 2),
    "rfc4211_4_2_bits_left_over": field(2, field(0, b"\x01\x80", constructed=False)),
    "rfc4211_4_3_agree_mac": field(3, field(3, der.null())),
}


@pytest.mark.parametrize("rule", BAD_PROOFS)
def test_malformed_proof_is_refused(rule: str) -> None:
    request = der.sequence(build_cert_request(0, CertTemplate()).der, BAD_PROOFS[rule])
    with pytest.raises(MalformedError):
        parse_cert_req_messages(der.sequence(request))


# ---- controls


def control(attr_type: str, value: bytes) -> AttributeTypeAndValue:
    return AttributeTypeAndValue(attr_type, value)


PUBLICATION = PKIPublicationInfo(
    True, (SinglePubInfo(PubMethod.WEB, SENDER), SinglePubInfo(PubMethod.DONT_CARE))
)
CONTROL_VALUES: dict[str, tuple[str, bytes, Any, Any]] = {
    "reg_token": (oid.REG_CTRL_REG_TOKEN, der.utf8_string("токен"), "токен", rfc4211.RegToken),
    "authenticator": (oid.REG_CTRL_AUTHENTICATOR, der.utf8_string("a"), "a", rfc4211.Authenticator),
    "pki_publication_info": (
        oid.REG_CTRL_PKI_PUBLICATION_INFO,
        PUBLICATION.encode(),
        PUBLICATION,
        rfc4211.PKIPublicationInfo,
    ),
    "pki_archive_options": (
        oid.REG_CTRL_PKI_ARCHIVE_OPTIONS,
        PKIArchiveOptions(EncryptedKey.of(ENVELOPED)).encode(),
        PKIArchiveOptions(EncryptedKey.of(ENVELOPED)),
        rfc4211.PKIArchiveOptions,
    ),
    "old_cert_id": (
        oid.REG_CTRL_OLD_CERT_ID,
        CertId.of(NAME, 7).encode(),
        CertId(SENDER, 7),
        rfc4211.OldCertId,
    ),
    "protocol_encr_key": (oid.REG_CTRL_PROTOCOL_ENCR_KEY, SPKI, SPKI, rfc4211.ProtocolEncrKey),
}


@pytest.mark.parametrize("name", CONTROL_VALUES)
def test_control(name: str) -> None:
    attr_type, value, want, spec = CONTROL_VALUES[name]

    assert read_controls([control(attr_type, value)]) == RequestControls(**{name: want})
    independent, rest = decode(value, asn1Spec=spec())
    assert not rest
    assert encode(independent) == value
    with pytest.raises(MalformedError):
        read_controls([control(attr_type, value), control(attr_type, value)])
    with pytest.raises(ProtocolError):
        read_controls([control(attr_type, der.null())])
    with pytest.raises(MalformedError):
        read_controls([control(attr_type, value + der.null())])


def test_every_control_that_is_read_has_a_row_here() -> None:
    assert {name: attr_type for name, (attr_type, *_) in CONTROL_VALUES.items()} == {
        name: attr_type for attr_type, (name, _) in CONTROLS.items()
    }


ARCHIVE_OPTIONS = {
    "enveloped": PKIArchiveOptions(EncryptedKey.of(ENVELOPED)),
    "parameters": PKIArchiveOptions(key_gen_parameters=b"seed"),
    "archive": PKIArchiveOptions(archive_rem_gen_priv_key=True),
    "do not archive": PKIArchiveOptions(archive_rem_gen_priv_key=False),
}


@pytest.mark.parametrize("name", ARCHIVE_OPTIONS)
def test_archive_options(name: str) -> None:
    encoded = ARCHIVE_OPTIONS[name].encode()

    assert der.whole(encoded, PKIArchiveOptions.parse) == ARCHIVE_OPTIONS[name]
    independent, _ = decode(encoded, asn1Spec=rfc4211.PKIArchiveOptions())
    assert encode(independent) == encoded


PUBLICATIONS = [PKIPublicationInfo(False), PKIPublicationInfo(True), PUBLICATION]


@pytest.mark.parametrize("info", PUBLICATIONS)
def test_publication_info(info: PKIPublicationInfo) -> None:
    assert der.whole(info.encode(), PKIPublicationInfo.parse) == info


BAD_PUBLICATIONS = {
    "rfc4211_6_3_infos_beside_dont_publish": PKIPublicationInfo(False, PUBLICATION.pub_infos).encode(),
    "rfc4211_6_3_infos_empty": der.sequence(der.integer(1), der.sequence()),
    "rfc4211_6_3_unknown_action": der.sequence(der.integer(2)),
    "rfc4211_6_3_unknown_method": der.sequence(der.integer(1), der.sequence(der.sequence(der.integer(4)))),
    "rfc4211_6_3_too_many": PKIPublicationInfo(True, PUBLICATION.pub_infos * MAX_PUBLICATIONS).encode(),
}


@pytest.mark.parametrize("rule", BAD_PUBLICATIONS)
def test_bad_publication_is_refused(rule: str) -> None:
    with pytest.raises(ProtocolError):
        der.whole(BAD_PUBLICATIONS[rule], PKIPublicationInfo.parse)


def test_unknown_controls_are_told() -> None:
    unknown = (control("1.2.3", der.null()), control("1.2.3", der.integer(1)))

    assert read_controls(unknown).unknown == unknown


# ---- EncryptedKey and EncryptedValue (§6.4)

AES = AlgorithmIdentifier(oid.AES256_CBC, der.octet_string(bytes(16)))
RSA = AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null())
VALUES = {
    "value alone": EncryptedValue(b"x"),
    "empty": EncryptedValue(b""),
    "as it is sent": EncryptedValue(b"x" * 200, ECDSA, AES, b"k" * 256, RSA),
    "all": EncryptedValue(b"x", RSA, AES, b"k", RSA, b"hint"),
    "hint": EncryptedValue(b"x", value_hint=b""),
}


@pytest.mark.parametrize("name", VALUES)
def test_encrypted_values(name: str) -> None:
    value = VALUES[name]
    encoded = value.encode()

    assert der.whole(encoded, EncryptedValue.parse) == value
    decoded, rest = decode(encoded, asn1Spec=rfc4211.EncryptedValue())
    assert (encode(decoded), rest) == (encoded, b"")
    assert decoded["encValue"].asOctets() == value.enc_value
    chosen = EncryptedKey.of_value(value)
    assert der.whole(chosen.der, EncryptedKey.parse) == chosen
    assert (chosen.enveloped_data, chosen.encrypted_value) == (None, value)


BAD_VALUES = {
    "no value": der.sequence(),
    "no BIT STRING": der.sequence(der.octet_string(b"x")),
    "unused bits": der.sequence(der.encode(der.BIT_STRING, b"\x01\xfe")),
    "unused bits of the key": der.sequence(der.encode(0x82, b"\x01\xfe"), der.bit_string(b"x")),
    "key without bits": der.sequence(der.encode(0x82, b""), der.bit_string(b"x")),
    "fields in another order": der.sequence(
        der.encode(0x82, b"\x00k"), implicit(0xA1, AES.encode()), der.bit_string(b"x")
    ),
    "no algorithm": der.sequence(der.encode(0xA1, b""), der.bit_string(b"x")),
    "more": der.sequence(der.bit_string(b"x"), der.null()),
}


@pytest.mark.parametrize("rule", BAD_VALUES)
def test_bad_encrypted_value_is_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        der.whole(BAD_VALUES[rule], EncryptedValue.parse)


@given(st.binary(max_size=80))
def test_no_octets_are_an_encrypted_value_by_accident(octets: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        encoded = der.encode(der.SEQUENCE, octets)
        assert der.whole(encoded, EncryptedValue.parse).encode() == encoded


def test_encrypted_keys_are_one_of_two() -> None:
    chosen = EncryptedKey.of(ENVELOPED)
    assert (chosen.enveloped_data, chosen.encrypted_value) == (ENVELOPED, None)
    with pytest.raises(MalformedError):
        der.whole(der.null(), EncryptedKey.parse)


# ---- messages

WHOLE = CertReqMsg(
    build_cert_request(-1, EVERY_FIELD, [control(oid.REG_CTRL_REG_TOKEN, der.utf8_string("t"))]),
    PROOFS["signature"],
    (control(oid.REG_INFO_UTF8_PAIRS, der.utf8_string("a?b%")),),
)
SMALLEST = CertReqMsg(build_cert_request(0, CertTemplate()))
WITH_REG_INFO = CertReqMsg(build_cert_request(2**63 - 1, CertTemplate()), None, WHOLE.reg_info)


@pytest.mark.parametrize("requests", [(WHOLE,), (SMALLEST,), (WITH_REG_INFO,), (SMALLEST, WHOLE)])
def test_requests(requests: tuple[CertReqMsg, ...]) -> None:
    encoded = build_cert_req_messages(requests)

    assert parse_cert_req_messages(encoded) == requests
    independent, rest = decode(encoded, asn1Spec=rfc4211.CertReqMessages())
    assert not rest
    assert encode(independent) == encoded


def test_rfc4211_4_the_request_is_kept_as_received() -> None:
    encoded = build_cert_req_messages([WHOLE])
    (parsed,) = parse_cert_req_messages(encoded)

    assert parsed.cert_req.der in encoded
    assert "signature" not in repr(parsed)


BAD_REQUESTS = {
    "rfc4211_3_empty": der.sequence(),
    "rfc4211_3_trailing": build_cert_req_messages([SMALLEST]) + der.null(),
    "rfc4211_3_no_request": der.sequence(der.sequence()),
    "rfc4211_3_reg_info_empty": der.sequence(der.sequence(SMALLEST.cert_req.der, der.sequence())),
    "rfc4211_3_more": der.sequence(
        der.sequence(
            SMALLEST.cert_req.der, der.encode(der.context(0, constructed=False), b""), b"", der.null()
        )
    ),
    "rfc4211_5_no_template": der.sequence(der.sequence(der.sequence(der.integer(0)))),
    "rfc4211_5_controls_empty": der.sequence(
        der.sequence(der.sequence(der.integer(0), der.sequence(), der.sequence()))
    ),
}


@pytest.mark.parametrize("rule", BAD_REQUESTS)
def test_malformed_requests_are_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        parse_cert_req_messages(BAD_REQUESTS[rule])


def test_bounds() -> None:
    with pytest.raises(TooLargeError):
        parse_cert_req_messages(build_cert_req_messages([SMALLEST] * (MAX_CERT_REQ_MSGS + 1)))
    with pytest.raises(TooLargeError):
        parse_cert_req_messages(
            build_cert_req_messages([CertReqMsg(build_cert_request(2**63, CertTemplate()))])
        )
    one = control("1.2.3", der.null()).encode()
    with pytest.raises(TooLargeError):
        der.whole(der.sequence(*[one] * (MAX_CONTROLS + 1)), parse_attributes)
