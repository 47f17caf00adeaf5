"""PKCS #10 as received: requests of OpenSSL and strongSwan, a row for each rule, and octets of any kind."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.der.decoder import decode
from pyasn1_alt_modules import rfc6402

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension
from protocols.errors import BadKeyError, BadPOPError, MalformedError, ProtocolError, TooLargeError
from protocols.x509 import csr as csr_module
from protocols.x509.csr import MAX_ATTRIBUTES, MAX_CSR_BYTES, ParsedCSR, parse_csr, parse_csr_without_key
from protocols.x509.names import parse_subject
from protocols.x509.request_attributes import ChangeSubjectName, SMIMECapability

VECTORS = Path(__file__).parent.parent / "vectors" / "x509"
SUBJECT = "CN=Бат Дорж,givenName=Дорж,SN=Бат,serialNumber=PNOMN-123456789012,O=Жишээ ХХК,C=MN"
SAN = (
    x509.DNSName("www.example.mn"),
    x509.RFC822Name("a@example.mn"),
    x509.IPAddress(ip_address("192.0.2.1")),
    x509.IPAddress(ip_address("2001:db8::1")),
    x509.UniformResourceIdentifier("https://example.mn/x"),
)
KEY = ec.derive_private_key(0x2986, ec.SECP256R1())
ECDSA_SHA256 = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))
SUBJECT_DER = der.sequence(der.set_of([der.sequence(der.oid(oid.COMMON_NAME), der.utf8_string("a"))]))


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.der").read_bytes()


def spki_of(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def attribute(attribute_type: str, *values: bytes) -> bytes:
    return der.sequence(der.oid(attribute_type), der.encode(der.SET, b"".join(values)))


def extension_request(*extensions: bytes) -> bytes:
    return attribute(oid.EXTENSION_REQUEST, der.sequence(*extensions))


def san_request(*names: bytes) -> bytes:
    return extension_request(Extension(oid.SUBJECT_ALT_NAME, False, der.sequence(*names)).encode())


def general_name(number: int, content: bytes, *, constructed: bool = False) -> bytes:
    return der.encode(der.context(number, constructed=constructed), content)


def build(
    *attributes: bytes,
    version: int = 0,
    subject: bytes = SUBJECT_DER,
    spki: bytes | None = None,
    algorithm: bytes = ECDSA_SHA256,
    tail: bytes = b"",
) -> bytes:
    """Return a request signed by KEY, whatever it says."""
    info = der.sequence(
        der.integer(version),
        subject,
        spki_of(KEY) if spki is None else spki,
        der.encode(der.context(0), b"".join(attributes)),
        tail,
    )
    return der.sequence(info, algorithm, der.bit_string(KEY.sign(info, ec.ECDSA(hashes.SHA256()))))


# ---- what is taken


@pytest.mark.parametrize(
    ("name", "key_type"),
    [
        ("openssl_rsa2048", rsa.RSAPublicKey),
        ("openssl_rsa2048_pss", rsa.RSAPublicKey),
        ("openssl_rsa2048_pss_longest_salt", rsa.RSAPublicKey),
        ("openssl_p256", ec.EllipticCurvePublicKey),
        ("openssl_p384", ec.EllipticCurvePublicKey),
        ("openssl_p521", ec.EllipticCurvePublicKey),
        ("openssl_ed25519", ed25519.Ed25519PublicKey),
        ("openssl_ed448", ed448.Ed448PublicKey),
    ],
)
def test_request_of_openssl_is_read(name: str, key_type: type) -> None:
    request = vector(name)
    independent = x509.load_der_x509_csr(request)

    parsed = parse_csr(request)

    assert parsed.subject == parse_subject(SUBJECT)
    assert parsed.san == SAN
    assert parsed.challenge_password is None
    assert isinstance(parsed.public_key, key_type)
    assert parsed.public_key == independent.public_key()
    assert parsed.spki_sha256 == hashlib.sha256(spki_of(independent)).digest()


def test_attributes_of_strongswan_in_any_order_are_read() -> None:
    parsed = parse_csr(vector("strongswan_unsorted_attributes"))

    assert parsed.san == (x509.DNSName("dns.example.mn"),)
    assert parsed.challenge_password == "ab"


def test_challenge_password_of_openssl_is_read_and_not_shown() -> None:
    parsed = parse_csr(vector("openssl_challenge_password"))

    assert parsed.challenge_password == "ab cd"
    assert parsed.san == ()
    assert "ab cd" not in repr(parsed)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (der.utf8_string("нууц"), "нууц"),
        (der.encode(der.PRINTABLE_STRING, b"x+/="), "x+/="),
        (der.encode(der.IA5_STRING, b"a@b"), "a@b"),
        (der.encode(0x14, b"caf\xe9"), "café"),
        (der.encode(0x1E, "нууц".encode("utf-16-be")), "нууц"),
        (der.utf8_string("x" * 255), "x" * 255),
    ],
    ids=["utf8", "printable", "ia5", "t61", "bmp", "longest"],
)
def test_rfc2985_5_4_1_challenge_password_in_every_string_type(value: bytes, text: str) -> None:
    assert parse_csr(build(attribute(oid.CHALLENGE_PASSWORD, value))).challenge_password == text


@pytest.mark.parametrize(
    ("name", "want"),
    [
        (general_name(2, b"WWW.Example.MN"), x509.DNSName("www.example.mn")),
        (general_name(2, b"*.example.mn"), x509.DNSName("*.example.mn")),
        (general_name(7, bytes([192, 0, 2, 1])), x509.IPAddress(ip_address("192.0.2.1"))),
        (general_name(8, bytes([0x2A, 3])), x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))),
        (
            general_name(4, SUBJECT_DER, constructed=True),
            x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])),
        ),
        (
            general_name(0, der.oid("1.2.3") + der.explicit(0, der.utf8_string("u")), constructed=True),
            x509.OtherName(x509.ObjectIdentifier("1.2.3"), der.utf8_string("u")),
        ),
    ],
    ids=["dns", "wildcard", "ip", "rid", "dirname", "othername"],
)
def test_rfc5280_4_2_1_6_general_name_is_read(name: bytes, want: x509.GeneralName) -> None:
    assert parse_csr(build(san_request(name))).san == (want,)


def test_empty_subject_and_unknown_attribute_are_taken() -> None:
    parsed = parse_csr(build(attribute("1.2.3.4", der.null(), der.integer(5)), subject=der.sequence()))

    assert parsed.subject == x509.Name([])


def test_malformed_extension_that_nobody_reads_does_no_harm() -> None:
    parsed = parse_csr(build(extension_request(Extension(oid.KEY_USAGE, True, b"\xff").encode())))

    assert parsed.san == ()


# ---- attributes of EST and CMC

CHANGED = parse_subject("CN=Дорж,C=MN")
CHANGED_SAN = der.sequence(general_name(2, b"new.example.mn"))


def change_subject_name(*parts: bytes) -> bytes:
    return attribute(oid.CMC_CHANGE_SUBJECT_NAME, der.sequence(*parts))


@pytest.mark.parametrize(
    ("parts", "want"),
    [
        ((CHANGED.public_bytes(),), ChangeSubjectName(CHANGED, ())),
        ((CHANGED_SAN,), ChangeSubjectName(None, (x509.DNSName("new.example.mn"),))),
        (
            (CHANGED.public_bytes(), CHANGED_SAN),
            ChangeSubjectName(CHANGED, (x509.DNSName("new.example.mn"),)),
        ),
        (
            (der.sequence(), CHANGED_SAN),
            ChangeSubjectName(x509.Name([]), (x509.DNSName("new.example.mn"),)),
        ),
    ],
    ids=["subject", "san", "both", "empty_subject"],
)
def test_rfc6402_2_8_change_subject_name(parts: tuple[bytes, ...], want: ChangeSubjectName) -> None:
    tagged = [part.replace(CHANGED_SAN, b"\xa1" + CHANGED_SAN[1:]) for part in parts]

    assert parse_csr(build(change_subject_name(*parts))).change_subject_name == want
    assert parse_csr(build(change_subject_name(*tagged))).change_subject_name == want
    independent, rest = decode(der.sequence(*tagged), asn1Spec=rfc6402.ChangeSubjectName())  # erratum 3943
    assert not rest
    assert independent["subject"].isValue == (want.subject is not None)
    assert independent["subjectAlt"].isValue == bool(want.san)


def test_rfc7030_4_4_1_attributes_of_serverkeygen() -> None:
    capabilities = der.sequence(
        der.sequence(der.oid(oid.AES256_WRAP)), der.sequence(der.oid(oid.RSA_ENCRYPTION), der.null())
    )
    request = build(
        attribute(oid.AA_DECRYPT_KEY_ID, der.octet_string(b"key 1")),
        attribute(oid.AA_ASYMM_DECRYPT_KEY_ID, der.octet_string(b"key 2")),
        attribute(oid.SMIME_CAPABILITIES, capabilities),
    )

    for parsed in (parse_csr(request), parse_csr_without_key(request)):
        assert parsed.decrypt_key_identifier == b"key 1"
        assert parsed.asymmetric_decrypt_key_identifier == b"key 2"
        assert parsed.smime_capabilities == (
            SMIMECapability(oid.AES256_WRAP),
            SMIMECapability(oid.RSA_ENCRYPTION, der.null()),
        )


def test_rfc5272_3_2_subject_key_identifier_is_read() -> None:
    extension = Extension(oid.SUBJECT_KEY_IDENTIFIER, False, der.octet_string(b"key 3")).encode()

    assert parse_csr(build(extension_request(extension))).subject_key_identifier == b"key 3"


def test_request_without_them_has_none() -> None:
    parsed = parse_csr(build())

    assert parsed.change_subject_name is None
    assert parsed.decrypt_key_identifier is None
    assert parsed.asymmetric_decrypt_key_identifier is None
    assert parsed.subject_key_identifier is None
    assert parsed.smime_capabilities == ()


@pytest.mark.parametrize(
    "request_",
    [
        build(spki=der.sequence(der.sequence(der.oid("1.2.3")), der.bit_string(b""))),
        vector("rfc3279_2_3_2_dsa_key"),
        vector("rfc2986_3_md5_signature"),
        build()[:-4] + bytes(4),
    ],
    ids=["key_unknown", "key_of_dsa", "signature_of_md5", "signature_wrong"],
)
def test_rfc7030_4_4_1_key_and_signature_are_ignored_where_the_server_makes_the_key(request_: bytes) -> None:
    with pytest.raises((BadKeyError, BadPOPError)):
        parse_csr(request_)

    unproven = parse_csr_without_key(request_)

    assert unproven.subject.rdns
    assert not isinstance(unproven, ParsedCSR)


# ---- one row for each rule of structure

MALFORMED: dict[str, Callable[[], bytes]] = {
    "rfc2986_4_1_version_2": lambda: build(version=1),
    "rfc2986_4_1_attributes_absent": lambda: der.sequence(
        der.sequence(der.integer(0), SUBJECT_DER, spki_of(KEY)), ECDSA_SHA256, der.bit_string(b"x")
    ),
    "rfc2986_4_1_element_after_attributes": lambda: build(tail=der.null()),
    "rfc2986_4_1_attribute_without_value": lambda: build(attribute("1.2.3")),
    "rfc2986_4_1_attribute_twice": lambda: build(*[attribute("1.2.3", der.null())] * 2),
    "rfc2986_4_2_trailing_octet": lambda: build() + b"\x00",
    "rfc2986_4_2_fourth_element": lambda: der.sequence(der.Reader(build()).read(der.SEQUENCE), der.null()),
    "rfc2985_5_4_1_two_passwords": lambda: build(
        attribute(oid.CHALLENGE_PASSWORD, der.utf8_string("a"), der.utf8_string("b"))
    ),
    "rfc2985_5_4_1_password_empty": lambda: build(attribute(oid.CHALLENGE_PASSWORD, der.utf8_string(""))),
    "rfc2985_5_4_1_password_over_255": lambda: build(
        attribute(oid.CHALLENGE_PASSWORD, der.utf8_string("x" * 256))
    ),
    "rfc2985_5_4_1_password_no_string": lambda: build(attribute(oid.CHALLENGE_PASSWORD, der.integer(1))),
    "rfc2985_5_4_1_password_not_utf8": lambda: build(
        attribute(oid.CHALLENGE_PASSWORD, der.encode(der.UTF8_STRING, b"\xff"))
    ),
    "rfc6402_2_8_neither": lambda: build(change_subject_name()),
    "rfc6402_2_8_two_names": lambda: build(change_subject_name(SUBJECT_DER, SUBJECT_DER)),
    "rfc6402_2_8_order": lambda: build(change_subject_name(CHANGED_SAN, SUBJECT_DER)),
    "rfc6402_2_8_san_twice": lambda: build(change_subject_name(CHANGED_SAN, CHANGED_SAN)),
    "rfc6402_2_8_third_element": lambda: build(change_subject_name(SUBJECT_DER, CHANGED_SAN, der.null())),
    "rfc6402_2_8_two_values": lambda: build(
        attribute(oid.CMC_CHANGE_SUBJECT_NAME, *[der.sequence(SUBJECT_DER)] * 2)
    ),
    "rfc4108_2_2_5_no_octet_string": lambda: build(attribute(oid.AA_DECRYPT_KEY_ID, der.null())),
    "rfc4108_2_2_5_two_values": lambda: build(
        attribute(oid.AA_DECRYPT_KEY_ID, der.octet_string(b"a"), der.octet_string(b"b"))
    ),
    "rfc7030_4_4_1_2_empty": lambda: build(attribute(oid.AA_ASYMM_DECRYPT_KEY_ID, der.octet_string(b""))),
    "rfc8551_2_5_2_no_sequence": lambda: build(attribute(oid.SMIME_CAPABILITIES, der.null())),
    "rfc8551_2_5_2_third_element": lambda: build(
        attribute(
            oid.SMIME_CAPABILITIES, der.sequence(der.sequence(der.oid("1.2.3"), der.null(), der.null()))
        )
    ),
    "rfc5280_4_2_1_2_key_identifier": lambda: build(
        extension_request(Extension(oid.SUBJECT_KEY_IDENTIFIER, False, der.null()).encode())
    ),
    "rfc2985_5_4_2_two_extension_requests": lambda: build(
        attribute(oid.EXTENSION_REQUEST, der.sequence(), der.sequence())
    ),
    "rfc2985_5_4_2_empty": lambda: build(extension_request()),
    "rfc2985_5_4_2_no_sequence": lambda: build(attribute(oid.EXTENSION_REQUEST, der.null())),
    "rfc5280_4_2_extension_twice": lambda: build(
        extension_request(*[Extension(oid.KEY_USAGE, False, b"").encode()] * 2)
    ),
    "x690_11_5_default_critical": lambda: build(
        extension_request(der.sequence(der.oid(oid.KEY_USAGE), der.boolean(False), der.octet_string(b"")))
    ),
    "x690_10_1_indefinite_length": lambda: b"\x30\x80" + der.Reader(build()).read(der.SEQUENCE) + bytes(2),
    "rfc5280_4_1_2_4_empty_rdn": lambda: build(subject=der.sequence(der.set_of([]))),
    "rfc5280_4_1_2_4_bad_utf8": lambda: build(subject=SUBJECT_DER[:-1] + b"\xff"),
    "rfc5280_4_1_2_4_value_no_string": lambda: build(
        subject=der.sequence(der.set_of([der.sequence(der.oid(oid.COMMON_NAME), der.bit_string(b"a"))]))
    ),
    "rfc5280_4_2_1_6_empty_san": lambda: build(san_request()),
    "rfc5280_4_2_1_6_dns_space": lambda: build(san_request(general_name(2, b" "))),
    "rfc5280_4_2_1_6_dns_nul": lambda: build(san_request(general_name(2, b"a.mn\x00.b.mn"))),
    "rfc5280_4_2_1_6_dns_not_ascii": lambda: build(san_request(general_name(2, "монгол.mn".encode()))),
    "rfc5280_4_2_1_6_email_with_name": lambda: build(san_request(general_name(1, b"A <a@b.mn>"))),
    "rfc5280_4_2_1_6_uri_relative": lambda: build(san_request(general_name(6, b"/path"))),
    "rfc5280_4_2_1_6_ip_5_octets": lambda: build(san_request(general_name(7, bytes(5)))),
    "rfc5280_4_2_1_6_ip_network": lambda: build(san_request(general_name(7, bytes(8)))),
    "rfc5280_4_2_1_6_x400": lambda: build(san_request(general_name(3, b"", constructed=True))),
    "rfc5280_4_2_1_6_unknown_tag": lambda: build(san_request(general_name(9, b""))),
    "rfc5280_4_1_2_7_spki_third_element": lambda: build(
        spki=der.sequence(der.sequence(der.oid(oid.ED25519)), der.bit_string(bytes(32)), der.null())
    ),
    "empty": lambda: b"",
}


@pytest.mark.parametrize("rule", MALFORMED)
def test_malformed_request_is_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        parse_csr(MALFORMED[rule]())


TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "bytes": lambda: bytes(MAX_CSR_BYTES + 1),
    "attributes": lambda: build(*(attribute(f"1.2.{n}", der.null()) for n in range(MAX_ATTRIBUTES + 1))),
    "extensions": lambda: build(
        extension_request(*(Extension(f"1.2.{n}", False, b"").encode() for n in range(65)))
    ),
    "identifier of a key": lambda: build(attribute(oid.AA_DECRYPT_KEY_ID, der.octet_string(bytes(257)))),
    "capabilities": lambda: build(
        attribute(oid.SMIME_CAPABILITIES, der.sequence(*[der.sequence(der.oid("1.2.3"))] * 65))
    ),
    "general names": lambda: build(san_request(*[general_name(2, b"a.mn")] * 129)),
    "rdns": lambda: build(subject=der.sequence(*[der.set_of([der.sequence()])] * 33)),
}


@pytest.mark.parametrize("bound", TOO_LARGE)
def test_request_over_a_bound_is_refused(bound: str) -> None:
    with pytest.raises(TooLargeError):
        parse_csr(TOO_LARGE[bound]())


def test_as_many_attributes_as_the_bound_allows_are_taken() -> None:
    parse_csr(build(*(attribute(f"1.2.{n}", der.null()) for n in range(MAX_ATTRIBUTES))))


# ---- keys


RSA_ALGORITHM = der.sequence(der.oid(oid.RSA_ENCRYPTION), der.null())


def rsa_spki(modulus: int, exponent: int, algorithm: bytes = RSA_ALGORITHM) -> bytes:
    key = der.sequence(der.integer(modulus), der.integer(exponent))
    return der.sequence(algorithm, der.bit_string(key))


def ec_spki(point: bytes, curve: str = oid.SECP256R1) -> bytes:
    return der.sequence(der.sequence(der.oid(oid.EC_PUBLIC_KEY), der.oid(curve)), der.bit_string(point))


BAD_KEYS: dict[str, Callable[[], bytes]] = {
    "rsa_over_8192_bits": lambda: build(spki=rsa_spki((1 << 8192) + 1, 65537)),
    "rsa_exponent_over_256_bits": lambda: build(spki=rsa_spki((1 << 4095) + 1, (1 << 256) + 1)),
    "rsa_exponent_even": lambda: build(spki=rsa_spki((1 << 2047) + 1, 65536)),
    "rsa_modulus_negative": lambda: build(spki=rsa_spki(-((1 << 2047) + 1), 65537)),
    "rfc3279_2_3_1_rsa_parameters_absent": lambda: build(
        spki=rsa_spki((1 << 2047) + 1, 65537, der.sequence(der.oid(oid.RSA_ENCRYPTION)))
    ),
    "rfc3279_2_3_1_rsa_pss_key": lambda: vector("rfc3279_2_3_1_rsa_pss_key"),
    "rfc3279_2_3_2_dsa_key": lambda: vector("rfc3279_2_3_2_dsa_key"),
    "rfc5480_2_1_1_explicit_curve": lambda: vector("rfc5480_2_1_1_explicit_curve"),
    "rfc5480_2_1_1_p224": lambda: vector("rfc5480_2_1_1_p224"),
    "rfc5480_2_1_1_secp256k1": lambda: vector("rfc5480_2_1_1_secp256k1"),
    "rfc5480_2_1_1_curve_absent": lambda: build(
        spki=der.sequence(der.sequence(der.oid(oid.EC_PUBLIC_KEY)), der.bit_string(bytes(65)))
    ),
    "rfc5480_2_2_compressed_point": lambda: vector("rfc5480_2_2_compressed_point"),
    "rfc5480_2_2_point_off_curve": lambda: build(spki=ec_spki(b"\x04" + bytes(63) + b"\x01")),
    "rfc5480_2_2_point_at_infinity": lambda: build(spki=ec_spki(b"\x00")),
    "rfc5480_2_2_point_of_other_curve": lambda: build(
        spki=ec_spki(spki_of(KEY)[-65:], oid.SECP384R1),
    ),
    "rfc8410_3_x25519": lambda: build(spki=spki_of(x25519.X25519PrivateKey.generate())),
    "rfc8410_4_ed25519_short": lambda: build(
        spki=der.sequence(der.sequence(der.oid(oid.ED25519)), der.bit_string(bytes(31)))
    ),
    "rfc8410_3_ed25519_with_null": lambda: build(
        spki=der.sequence(der.sequence(der.oid(oid.ED25519), der.null()), der.bit_string(bytes(32)))
    ),
}


@pytest.mark.parametrize("rule", BAD_KEYS)
def test_key_that_cannot_be_used_is_refused(rule: str) -> None:
    with pytest.raises(BadKeyError):
        parse_csr(BAD_KEYS[rule]())


def test_oversize_rsa_key_is_never_verified_with(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[object] = []
    monkeypatch.setattr(csr_module, "verify_possession", lambda *arguments: verified.append(arguments))

    parse_csr(build(spki=rsa_spki((1 << 8191) + 1, 65537)))
    assert len(verified) == 1
    with pytest.raises(BadKeyError):
        parse_csr(BAD_KEYS["rsa_over_8192_bits"]())
    assert len(verified) == 1


# ---- proof of possession


def pss(*parameters: bytes) -> bytes:
    return der.sequence(der.oid(oid.RSASSA_PSS), der.sequence(*parameters))


def digest(dotted: str) -> bytes:
    return der.sequence(der.oid(dotted), der.null())


def mgf1(dotted: str) -> bytes:
    return der.sequence(der.oid(oid.MGF1), digest(dotted))


def with_algorithm(algorithm: bytes, name: str = "openssl_rsa2048_pss") -> bytes:
    """Return a vector whose signature is said to be of another algorithm."""
    request = der.Reader(vector(name)).enter()
    info, _, signature = (request.read_any()[1] for _ in range(3))
    return der.sequence(info, algorithm, signature)


SHA384_PSS = (
    der.explicit(0, digest(oid.SHA384)),
    der.explicit(1, mgf1(oid.SHA384)),
    der.explicit(2, der.integer(48)),
)


def test_pss_parameters_of_the_vector_are_the_ones_varied_below() -> None:
    assert with_algorithm(pss(*SHA384_PSS)) == vector("openssl_rsa2048_pss")


BAD_POP: dict[str, Callable[[], bytes]] = {
    "rfc2986_3_md5_signature": lambda: vector("rfc2986_3_md5_signature"),
    "rfc2986_3_sha1_signature": lambda: vector("rfc2986_3_sha1_signature"),
    "rfc2986_3_pss_sha1_signature": lambda: vector("rfc2986_3_pss_sha1_signature"),
    "rfc2986_3_signature_altered": lambda: vector("openssl_rsa2048")[:-1] + b"\x00",
    "rfc2986_3_signature_empty": lambda: der.sequence(
        der.Reader(build()).enter().read_any()[1], ECDSA_SHA256, der.bit_string(b"")
    ),
    "rfc2986_3_content_altered": lambda: vector("openssl_p256").replace(b"www.example.mn", b"xxx.example.mn"),
    "rfc2986_3_key_of_another": lambda: build(spki=spki_of(ec.derive_private_key(7, ec.SECP256R1()))),
    "rfc2986_3_key_of_another_kind": lambda: build(spki=spki_of(ed25519.Ed25519PrivateKey.generate())),
    "rfc2986_3_algorithm_of_another_key": lambda: build(algorithm=der.sequence(der.oid(oid.ED448))),
    "rfc2986_3_algorithm_unknown": lambda: build(algorithm=der.sequence(der.oid("1.2.3"))),
    "rfc5758_3_2_other_hash": lambda: build(algorithm=der.sequence(der.oid(oid.ECDSA_WITH_SHA384))),
    "rfc4055_3_1_all_defaults": lambda: with_algorithm(pss()),
    "rfc4055_3_1_mask_default": lambda: with_algorithm(pss(SHA384_PSS[0])),
    "rfc4055_3_1_two_hashes": lambda: with_algorithm(
        pss(SHA384_PSS[0], der.explicit(1, mgf1(oid.SHA256)), SHA384_PSS[2])
    ),
    "rfc4055_3_1_other_salt": lambda: with_algorithm(pss(*SHA384_PSS[:2], der.explicit(2, der.integer(47)))),
    "rfc4055_3_1_salt_negative": lambda: with_algorithm(
        pss(*SHA384_PSS[:2], der.explicit(2, der.integer(-1)))
    ),
    "rfc4055_3_1_salt_over_key": lambda: with_algorithm(
        pss(*SHA384_PSS[:2], der.explicit(2, der.integer(1024)))
    ),
    "rfc4055_3_1_salt_huge": lambda: with_algorithm(
        pss(*SHA384_PSS[:2], der.explicit(2, der.integer(1 << 62)))
    ),
    "rfc4055_3_1_trailer_2": lambda: with_algorithm(pss(*SHA384_PSS, der.explicit(3, der.integer(2)))),
    "rfc4055_3_1_hash_unknown": lambda: with_algorithm(pss(der.explicit(0, digest(oid.SHA3_256)))),
    "rfc4055_3_1_mask_not_mgf1": lambda: with_algorithm(
        pss(SHA384_PSS[0], der.explicit(1, der.sequence(der.oid("1.2.3"), digest(oid.SHA384))))
    ),
}


@pytest.mark.parametrize("rule", BAD_POP)
def test_request_without_proof_of_possession_is_refused(rule: str) -> None:
    with pytest.raises(BadPOPError):
        parse_csr(BAD_POP[rule]())


@pytest.mark.parametrize(
    "algorithm",
    [
        der.sequence(der.oid(oid.ECDSA_WITH_SHA256), der.null()),
        der.sequence(der.oid(oid.SHA256_WITH_RSA), der.integer(0)),
        der.sequence(der.oid(oid.SHA256_WITH_RSA), der.null(), der.null()),
        pss(*SHA384_PSS, der.explicit(3, der.integer(1))),
        der.sequence(der.oid(oid.RSASSA_PSS)),
        der.sequence(),
    ],
    ids=["ecdsa_with_null", "rsa_with_integer", "two", "x690_11_5_default", "pss_absent", "empty"],
)
def test_malformed_signature_algorithm_is_refused(algorithm: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_csr(with_algorithm(algorithm))


def test_rfc4055_5_absent_parameters_are_accepted() -> None:
    parse_csr(with_algorithm(der.sequence(der.oid(oid.SHA256_WITH_RSA)), "openssl_rsa2048"))


# ---- octets of any kind


@given(st.binary(max_size=400))
def test_any_octets_raise_only_protocol_errors(octets: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_csr(octets)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        ["openssl_p256", "openssl_ed25519", "openssl_rsa2048_pss", "strongswan_unsorted_attributes"]
    ),
    st.integers(0, 900),
    st.integers(0, 4),
    st.binary(max_size=4),
)
def test_altered_request_raises_only_protocol_errors(name: str, at: int, cut: int, put: bytes) -> None:
    original = vector(name)
    at %= len(original)
    altered = original[:at] + put + original[at + cut :]
    if altered == original:
        return
    with pytest.raises(ProtocolError):
        parse_csr(altered)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        [
            oid.CMC_CHANGE_SUBJECT_NAME,
            oid.AA_DECRYPT_KEY_ID,
            oid.SMIME_CAPABILITIES,
            oid.CHALLENGE_PASSWORD,
            oid.EXTENSION_REQUEST,
        ]
    ),
    st.sampled_from([CHANGED_SAN, SUBJECT_DER, der.octet_string(b"abc"), b""]),
    st.integers(0, 40),
    st.binary(max_size=30),
)
def test_signed_request_of_any_attribute_raises_only_protocol_errors(
    kind: str, value: bytes, at: int, put: bytes
) -> None:
    value = value[:at] + put + value[at:]
    for encoded in (value, der.sequence(value)):
        with suppress(ProtocolError):
            parse_csr(build(attribute(kind, encoded)))


STRINGS = st.sampled_from(
    [der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING, 0x12, 0x14, 0x1A, 0x1C, 0x1E, 3]
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(STRINGS, st.binary(max_size=12)), max_size=3),
    st.integers(0, 8),
    st.binary(max_size=24),
)
def test_signed_request_of_any_content_raises_only_protocol_errors(
    values: list[tuple[int, bytes]], number: int, content: bytes
) -> None:
    rdns = [der.set_of([der.sequence(der.oid(oid.COUNTRY_NAME), der.encode(*value))]) for value in values]
    san = general_name(number, content, constructed=number in (0, 3, 4, 5))
    try:
        parsed = parse_csr(build(san_request(san), subject=der.sequence(*rdns)))
    except ProtocolError:
        return
    assert isinstance(parsed, ParsedCSR)
