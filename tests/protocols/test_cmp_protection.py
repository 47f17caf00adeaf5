"""Protection of CMP messages (RFC 9810 §5.1.3): a second implementation, bounds, refusals."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc8018, rfc9810

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.header import PKIHeader
from protocols.cmp.mac import (
    DEFAULT_BOUNDS,
    MAC_ALGORITHMS,
    MAX_KEY_OCTETS,
    MIN_KEY_OCTETS,
    ONE_WAY_FUNCTIONS,
    PSEUDORANDOM_FUNCTIONS,
    MACBounds,
    MACParameters,
    PBMAC1Parameter,
    PBMParameter,
)
from protocols.cmp.message import (
    build_pki_message,
    finish_message,
    parse_pki_message,
    protected_part,
    protected_part_of,
)
from protocols.cmp.protection import (
    SignatureProtection,
    mac_protected,
    read_protection,
    verify_mac,
    verify_signature,
)
from protocols.errors import (
    BadMACError,
    BadSignatureError,
    ErrorKind,
    MalformedError,
    ProtocolError,
    UnsupportedAlgorithmError,
)
from protocols.x509 import signatures
from protocols.x509.spki import PublicKey

SECRET = "нууц үг".encode()
SALT = bytes(range(16))
BODY = PKIBody(BodyType.GENM, der.sequence())
HEADER = PKIHeader(sender_kid=b"4711", transaction_id=bytes(16))
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - HMAC with it, as OpenSSL's client uses it
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def algorithm(dotted: str) -> AlgorithmIdentifier:
    return AlgorithmIdentifier(dotted, der.null())


PBM = PBMParameter(SALT, algorithm(oid.SHA256), 500, algorithm(oid.HMAC_WITH_SHA256))
PBMAC1 = PBMAC1Parameter(SALT, 500, 32, algorithm(oid.HMAC_WITH_SHA256), algorithm(oid.HMAC_WITH_SHA256))


def mac_of(key: bytes, name: str, part: bytes) -> bytes:
    mac = hmac.HMAC(key, HASHES[name])
    mac.update(part)
    return mac.finalize()


@pytest.mark.parametrize("mac", MAC_ALGORITHMS)
@pytest.mark.parametrize("owf", ONE_WAY_FUNCTIONS)
def test_rfc4211_4_4_password_based_mac(owf: str, mac: str) -> None:
    parameters = PBMParameter(SALT, algorithm(owf), 100, AlgorithmIdentifier(mac))
    message = parse_pki_message(mac_protected(HEADER, BODY, parameters.key_of(SECRET)))
    key = SECRET + SALT
    for _ in range(100):
        digest = hashes.Hash(HASHES[ONE_WAY_FUNCTIONS[owf]])
        digest.update(key)
        key = digest.finalize()

    assert message.protection == mac_of(key, MAC_ALGORITHMS[mac], protected_part(message))
    assert verify_mac(message, SECRET).parameters == parameters


@pytest.mark.parametrize("mac", MAC_ALGORITHMS)
@pytest.mark.parametrize("prf", PSEUDORANDOM_FUNCTIONS)
@pytest.mark.parametrize("key_octets", [MIN_KEY_OCTETS, 32, MAX_KEY_OCTETS])
def test_rfc8018_7_1_pbmac1(prf: str, mac: str, key_octets: int) -> None:
    parameters = PBMAC1Parameter(SALT, 100, key_octets, algorithm(prf), AlgorithmIdentifier(mac))
    message = parse_pki_message(mac_protected(HEADER, BODY, parameters.key_of(SECRET)))
    key = PBKDF2HMAC(HASHES[PSEUDORANDOM_FUNCTIONS[prf]], key_octets, SALT, 100).derive(SECRET)

    assert message.protection == mac_of(key, MAC_ALGORITHMS[mac], protected_part(message))
    assert verify_mac(message, SECRET).parameters == parameters


@pytest.mark.parametrize(
    ("parameters", "dotted", "spec"),
    [
        (PBM, oid.PASSWORD_BASED_MAC, rfc9810.PBMParameter()),
        (PBMAC1, oid.PBMAC1, rfc8018.PBMAC1_params()),
    ],
)
def test_parameters_both_ways(parameters: MACParameters, dotted: str, spec: Any) -> None:
    said = parameters.algorithm()

    assert said.oid == dotted
    assert read_protection(said) == parameters
    independent, rest = decode(said.parameters, asn1Spec=spec)
    assert not rest
    assert encode(independent) == said.parameters


@given(st.binary(max_size=70), st.binary(min_size=8, max_size=40), st.integers(100, 300), st.booleans())
@settings(deadline=None, max_examples=40)
def test_any_secret_protects(secret: bytes, salt: bytes, iterations: int, by_pbm: bool) -> None:
    parameters: MACParameters = replace(PBM if by_pbm else PBMAC1, salt=salt, iteration_count=iterations)
    message = parse_pki_message(mac_protected(HEADER, BODY, parameters.key_of(secret)))

    assert verify_mac(message, secret).parameters == parameters
    with pytest.raises(BadMACError):
        verify_mac(message, secret + b"\x01")


@pytest.mark.parametrize("parameters", [PBM, PBMAC1], ids=["PBM", "PBMAC1"])
def test_what_was_changed_is_noticed(parameters: MACParameters) -> None:
    message = parse_pki_message(mac_protected(HEADER, BODY, parameters.key_of(SECRET)))
    assert message.protection is not None
    other_header = replace(message.header, transaction_id=bytes(15) + b"\x01").encode()
    changed = [
        replace(message, header_der=other_header),
        replace(message, body_der=PKIBody(BodyType.GENP, der.sequence()).encode()),
        replace(message, protection=message.protection[:-1]),
        replace(message, protection=message.protection + b"\x00"),
        replace(message, protection=b""),
        replace(message, protection=bytes(32)),
    ]

    for one in changed:
        with pytest.raises(BadMACError) as caught:
            verify_mac(one, SECRET)
        assert caught.value.kind is ErrorKind.BAD_MESSAGE_CHECK


def test_one_key_serves_for_request_and_answer() -> None:
    request = parse_pki_message(mac_protected(HEADER, BODY, PBM.key_of(SECRET)))
    answer = parse_pki_message(mac_protected(PKIHeader(), BODY, verify_mac(request, SECRET)))

    assert answer.header.protection_alg == request.header.protection_alg
    verify_mac(answer, SECRET)


def test_a_key_is_not_shown() -> None:
    key = PBM.key_of(SECRET)

    assert key.key.hex() not in repr(key)
    assert repr(key.key) not in repr(key)


# ---- bounds, before any work

PRF = algorithm(oid.HMAC_WITH_SHA256)
UNSUPPORTED: dict[str, AlgorithmIdentifier] = {
    "rfc9045_4_3_99_iterations": replace(PBM, iteration_count=99).algorithm(),
    "own_over_100000_iterations": replace(PBM, iteration_count=100_001).algorithm(),
    "own_iterations_of_2_63": replace(PBM, iteration_count=2**63).algorithm(),
    "rfc4211_4_4_negative_iterations": replace(PBM, iteration_count=-500).algorithm(),
    "rfc4211_4_4_salt_of_7": replace(PBM, salt=bytes(7)).algorithm(),
    "own_salt_of_129": replace(PBM, salt=bytes(129)).algorithm(),
    "rfc9481_2_owf_sha1": replace(PBM, owf=algorithm(oid.SHA1)).algorithm(),
    "rfc4211_4_4_owf_no_hash": replace(PBM, owf=algorithm(oid.HMAC_WITH_SHA256)).algorithm(),
    "rfc4211_4_4_mac_no_mac": replace(PBM, mac=algorithm(oid.SHA256)).algorithm(),
    "rfc9045_4_4_gmac": replace(
        PBM, mac=AlgorithmIdentifier("2.16.840.1.101.3.4.1.9", der.sequence())
    ).algorithm(),
    "rfc8018_5_2_99_iterations": replace(PBMAC1, iteration_count=99).algorithm(),
    "own_pbkdf2_over_100000_iterations": replace(PBMAC1, iteration_count=100_001).algorithm(),
    "rfc8018_4_1_salt_of_7": replace(PBMAC1, salt=bytes(7)).algorithm(),
    "own_key_of_15": replace(PBMAC1, key_octets=15).algorithm(),
    "own_key_of_65": replace(PBMAC1, key_octets=65).algorithm(),
    "own_key_of_2_40": replace(PBMAC1, key_octets=2**40).algorithm(),
    "own_prf_sha1": replace(PBMAC1, prf=algorithm(oid.HMAC_WITH_SHA1)).algorithm(),
    "rfc8018_a_5_mac_no_mac": replace(PBMAC1, mac=algorithm(oid.SHA256)).algorithm(),
    "rfc8018_a_2_other_salt": AlgorithmIdentifier(
        oid.PBMAC1,
        der.sequence(
            AlgorithmIdentifier(
                oid.PBKDF2, der.sequence(PRF.encode(), der.integer(500), der.integer(32), PRF.encode())
            ).encode(),
            PRF.encode(),
        ),
    ),
    "rfc8018_a_2_no_key_length": AlgorithmIdentifier(
        oid.PBMAC1,
        der.sequence(
            AlgorithmIdentifier(
                oid.PBKDF2, der.sequence(der.octet_string(SALT), der.integer(500), PRF.encode())
            ).encode(),
            PRF.encode(),
        ),
    ),
    "rfc8018_a_2_prf_default": AlgorithmIdentifier(
        oid.PBMAC1,
        der.sequence(
            AlgorithmIdentifier(
                oid.PBKDF2, der.sequence(der.octet_string(SALT), der.integer(500), der.integer(32))
            ).encode(),
            PRF.encode(),
        ),
    ),
    "rfc8018_a_5_other_kdf": AlgorithmIdentifier(
        oid.PBMAC1, der.sequence(AlgorithmIdentifier("1.2.3", der.null()).encode(), PRF.encode())
    ),
    "rfc9810_5_1_3_2_dh_based_mac": AlgorithmIdentifier(oid.DH_BASED_MAC, der.sequence()),
    "rfc9810_5_1_3_4_kem_based_mac": AlgorithmIdentifier(oid.KEM_BASED_MAC, der.sequence()),
    "rfc9481_3_sha1_signature": AlgorithmIdentifier(oid.ECDSA_WITH_SHA1),
    "rfc9810_5_1_3_unknown": AlgorithmIdentifier("1.2.3"),
}


@pytest.mark.parametrize("rule", UNSUPPORTED)
def test_unsupported_protection_is_refused(rule: str) -> None:
    message = parse_pki_message(
        build_pki_message(replace(HEADER, protection_alg=UNSUPPORTED[rule]), BODY, b"protection")
    )

    for check in (lambda: read_protection(UNSUPPORTED[rule]), lambda: verify_mac(message, SECRET)):
        with pytest.raises(UnsupportedAlgorithmError) as caught:
            check()
        assert caught.value.kind is ErrorKind.BAD_ALGORITHM


@pytest.mark.parametrize(
    ("dotted", "name"),
    [
        (oid.DH_BASED_MAC, "DHBasedMac"),
        (oid.KEM_BASED_MAC, "KemBasedMac"),
        (oid.SHA1_WITH_RSA, "SHA-1"),
    ],
)
def test_protection_is_refused_by_name(dotted: str, name: str) -> None:
    with pytest.raises(UnsupportedAlgorithmError, match=name):
        read_protection(AlgorithmIdentifier(dotted))


MALFORMED: dict[str, AlgorithmIdentifier] = {
    "rfc4211_4_4_no_parameters": AlgorithmIdentifier(oid.PASSWORD_BASED_MAC),
    "rfc4211_4_4_parameters": AlgorithmIdentifier(oid.PASSWORD_BASED_MAC, der.null()),
    "rfc8018_a_5_no_parameters": AlgorithmIdentifier(oid.PBMAC1),
    "rfc5754_2_parameters_of_a_hash": replace(
        PBM, owf=AlgorithmIdentifier(oid.SHA256, der.sequence())
    ).algorithm(),
    "rfc9045_4_4_parameters_of_a_mac": replace(
        PBM, mac=AlgorithmIdentifier(oid.HMAC_WITH_SHA256, der.sequence())
    ).algorithm(),
    "rfc8018_a_2_parameters_of_a_prf": replace(
        PBMAC1, prf=AlgorithmIdentifier(oid.HMAC_WITH_SHA256, der.sequence())
    ).algorithm(),
}


@pytest.mark.parametrize("rule", MALFORMED)
def test_malformed_protection_is_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        read_protection(MALFORMED[rule])


@pytest.mark.parametrize("parameters", [PBM, PBMAC1], ids=["PBM", "PBMAC1"])
def test_bounds_are_the_callers(parameters: MACParameters) -> None:
    assert read_protection(parameters.algorithm(), MACBounds(500, 500, 16, 16)) == parameters
    for bounds in (MACBounds(501), MACBounds(100, 499), MACBounds(100, 500, 17), MACBounds(100, 500, 8, 15)):
        with pytest.raises(UnsupportedAlgorithmError):
            read_protection(parameters.algorithm(), bounds)
    assert (DEFAULT_BOUNDS.min_iterations, DEFAULT_BOUNDS.max_iterations) == (100, 100_000)


@given(st.binary(max_size=100))
@settings(deadline=None)
def test_parameters_at_random(parameters: bytes) -> None:
    for dotted in (oid.PASSWORD_BASED_MAC, oid.PBMAC1):
        with pytest.raises(ProtocolError):
            read_protection(AlgorithmIdentifier(dotted, parameters))


# ---- signatures

EC_KEY = ec.generate_private_key(ec.SECP256R1())
P521_KEY = ec.generate_private_key(ec.SECP521R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()
ED448_KEY = ed448.Ed448PrivateKey.generate()
SHA256_WITH_NULL = AlgorithmIdentifier(oid.SHA256, der.null()).encode()
PSS = AlgorithmIdentifier(
    oid.RSASSA_PSS,
    der.sequence(
        der.explicit(0, SHA256_WITH_NULL),
        der.explicit(1, der.sequence(der.oid(oid.MGF1), SHA256_WITH_NULL)),
        der.explicit(2, der.integer(32)),
    ),
)
SIGNED: dict[str, tuple[AlgorithmIdentifier, Any, tuple[Any, ...]]] = {
    "ECDSA with SHA-256": (AlgorithmIdentifier(oid.ECDSA_WITH_SHA256), EC_KEY, (ec.ECDSA(hashes.SHA256()),)),
    "ECDSA with SHA-512": (
        AlgorithmIdentifier(oid.ECDSA_WITH_SHA512),
        P521_KEY,
        (ec.ECDSA(hashes.SHA512()),),
    ),
    "RSA with SHA-256": (algorithm(oid.SHA256_WITH_RSA), RSA_KEY, (padding.PKCS1v15(), hashes.SHA256())),
    "RSASSA-PSS": (PSS, RSA_KEY, (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())),
    "Ed25519": (AlgorithmIdentifier(oid.ED25519), ED25519_KEY, ()),
    "Ed448": (AlgorithmIdentifier(oid.ED448), ED448_KEY, ()),
}


def signed(name: str) -> tuple[bytes, PublicKey]:
    """Return a signed message and its signer's key."""
    chosen, key, how = SIGNED[name]
    part = protected_part_of(replace(HEADER, protection_alg=chosen), BODY)
    return finish_message(part, key.sign(part, *how)), key.public_key()


@pytest.mark.parametrize("name", SIGNED)
def test_rfc9481_3_signature(name: str) -> None:
    encoded, key = signed(name)
    message = parse_pki_message(encoded)

    assert message.header.protection_alg is not None
    assert read_protection(message.header.protection_alg) == SignatureProtection(SIGNED[name][0])
    verify_signature(message, key)
    for other in SIGNED.values():
        if other[1] is not SIGNED[name][1]:
            with pytest.raises(BadSignatureError):
                verify_signature(message, other[1].public_key())
    for wrong in (
        replace(message, protection=b""),
        replace(message, body_der=PKIBody(BodyType.GENP, der.sequence()).encode()),
    ):
        with pytest.raises(BadSignatureError):
            verify_signature(wrong, key)


def test_a_signature_is_no_mac_and_a_mac_no_signature() -> None:
    by_signature = parse_pki_message(signed("Ed25519")[0])
    by_mac = parse_pki_message(mac_protected(HEADER, BODY, PBM.key_of(SECRET)))

    with pytest.raises(BadMACError):
        verify_mac(by_signature, SECRET)
    with pytest.raises(BadSignatureError):
        verify_signature(by_mac, ED25519_KEY.public_key())


def test_protection_without_algorithm_or_algorithm_without_protection_is_none() -> None:
    without_algorithm = parse_pki_message(build_pki_message(HEADER, BODY, b"protection"))
    without_protection = parse_pki_message(
        build_pki_message(replace(HEADER, protection_alg=PBM.algorithm()), BODY)
    )

    for message in (without_algorithm, without_protection):
        with pytest.raises(BadMACError):
            verify_mac(message, SECRET)
        with pytest.raises(BadSignatureError):
            verify_signature(message, ED25519_KEY.public_key())


def test_algorithms_are_told_apart() -> None:
    assert not signatures.SIGNATURE_ALGORITHMS & signatures.WEAK_ALGORITHMS
