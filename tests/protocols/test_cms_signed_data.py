"""SignedData: messages of OpenSSL verified, ours built, every rule broken once, octets of any kind."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms as second_opinion
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier, Attribute
from protocols.cms.content_info import (
    MAX_CMS_BYTES,
    ContentInfo,
    IssuerAndSerialNumber,
    SubjectKeyIdentifier,
    read_content_info,
)
from protocols.cms.signed_data import MAX_ATTRIBUTES, MAX_CERTIFICATES, MAX_SIGNERS, SignedData, SignerInfo
from protocols.cms.signing import assemble, signed_attributes
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.errors import BadSignatureError, MalformedError, ProtocolError, TooLargeError
from protocols.x509.spki import PublicKey

VECTORS = Path(__file__).parent.parent / "vectors"
CONTENT = b"Content of RFC 5652"
KEY = ec.derive_private_key(0x5652, ec.SECP256R1())
NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
ECDSA_SHA256 = der.sequence(der.oid(oid.ECDSA_WITH_SHA256))
NAME = der.sequence(der.set_of([der.sequence(der.oid(oid.COMMON_NAME), der.utf8_string("a"))]))
BY_KEY = SubjectKeyIdentifier(b"key 1")
BY_ISSUER = IssuerAndSerialNumber(NAME, 0x5652)
CERTIFICATE = (VECTORS / "crl" / "openssl_full_issuer.der").read_bytes()


def vector(name: str) -> bytes:
    return (VECTORS / "cms" / name).read_bytes()


def read(message: bytes) -> SignedData:
    return SignedData.from_content_info(read_content_info(message))


def key_of(certificate: bytes | None) -> PublicKey:
    assert certificate is not None
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, PublicKey)
    return key


def build(
    sign: Callable[[bytes], bytes] = lambda tbs: KEY.sign(tbs, ec.ECDSA(hashes.SHA256())),
    algorithm: bytes = ECDSA_SHA256,
    *,
    digest: str = oid.SHA256,
    sid: Any = BY_KEY,
    content_type: str = oid.PKCS7_DATA,
) -> bytes:
    attributes = signed_attributes(content_type, CONTENT, digest_algorithm=digest, signing_time=NOW)
    return assemble(
        content_type,
        CONTENT,
        attributes,
        signer=sid,
        digest_algorithm=digest,
        signature_algorithm=algorithm,
        signature=sign(attributes),
        certificates=[CERTIFICATE],
    )


# ---- messages of others


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("openssl_rsa.der", IssuerAndSerialNumber),
        ("openssl_rsa_pss.der", IssuerAndSerialNumber),
        ("openssl_p256_stream.ber", IssuerAndSerialNumber),
        ("openssl_p384_key_identifier.der", SubjectKeyIdentifier),
    ],
)
def test_message_of_openssl_is_verified(name: str, identifier: type) -> None:
    signed_data = read(vector(name))
    [signer] = signed_data.signer_infos

    verify_signer(signed_data, signer, key_of(signer_certificate(signed_data, signer)))

    assert signed_data.content == CONTENT
    assert signed_data.content_type == oid.PKCS7_DATA
    assert isinstance(signer.sid, identifier)


def test_each_of_two_signers_is_verified_by_its_own_key() -> None:
    signed_data = read(vector("openssl_two_signers.der"))
    one, other = signed_data.signer_infos
    keys = [key_of(signer_certificate(signed_data, signer)) for signer in (one, other)]

    verify_signer(signed_data, one, keys[0])
    verify_signer(signed_data, other, keys[1])
    for signer, key in ((one, keys[1]), (other, keys[0])):
        with pytest.raises(BadSignatureError):
            verify_signer(signed_data, signer, key)


def test_signer_whose_certificate_is_not_inside_is_named_only() -> None:
    signed_data = read(vector("openssl_no_certificates.der"))
    [signer] = signed_data.signer_infos

    assert signed_data.certificates == ()
    assert signer_certificate(signed_data, signer) is None
    assert isinstance(signer.sid, IssuerAndSerialNumber)
    assert signer.sid.serial_number == 0x2B02


@pytest.mark.parametrize(
    "name",
    ["rfc8551_2_2_sha1_digest.der", "rfc5652_5_3_no_signed_attributes.der", "rfc5652_5_2_detached.der"],
)
def test_message_that_proves_too_little_is_refused(name: str) -> None:
    signed_data = read(vector(name))
    [signer] = signed_data.signer_infos

    with pytest.raises(BadSignatureError):
        verify_signer(signed_data, signer, key_of(signer_certificate(signed_data, signer)))


@pytest.mark.parametrize("path", sorted((VECTORS / "cms").glob("*.der")), ids=lambda path: path.name)
def test_der_is_encoded_as_it_was_read(path: Path) -> None:
    message = path.read_bytes()

    assert read(message).to_content_info().encode() == message


# ---- ours


def test_signed_attributes_are_these_octets() -> None:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(CONTENT)
    want = der.set_of(
        [
            der.sequence(der.oid(oid.CONTENT_TYPE), der.set_of([der.oid(oid.CCT_PKI_RESPONSE)])),
            der.sequence(der.oid(oid.SIGNING_TIME), der.set_of([der.encode(der.UTC_TIME, b"261122010203Z")])),
            der.sequence(der.oid(oid.MESSAGE_DIGEST), der.set_of([der.octet_string(digest.finalize())])),
        ]
    )

    assert (
        signed_attributes(oid.CCT_PKI_RESPONSE, CONTENT, digest_algorithm=oid.SHA256, signing_time=NOW)
        == want
    )


@pytest.mark.parametrize("sid", [BY_KEY, BY_ISSUER], ids=["key", "issuer"])
@pytest.mark.parametrize("content_type", [oid.PKCS7_DATA, oid.CCT_PKI_RESPONSE])
def test_message_is_read_as_it_was_built(sid: Any, content_type: str) -> None:
    message = build(sid=sid, content_type=content_type)
    signed_data = read(message)
    [signer] = signed_data.signer_infos
    independent = second_opinion.ContentInfo.load(message, strict=True)["content"]

    verify_signer(signed_data, signer, KEY.public_key())

    assert (signed_data.content_type, signed_data.content) == (content_type, CONTENT)
    assert signed_data.certificates == (CERTIFICATE,)
    assert signer.sid == sid
    # RFC 5652 §5.1, §5.3
    assert independent["version"].native == (
        "v1" if (sid, content_type) == (BY_ISSUER, oid.PKCS7_DATA) else "v3"
    )
    assert independent["signer_infos"][0]["version"].native == ("v3" if sid is BY_KEY else "v1")
    assert independent["signer_infos"][0]["signed_attrs"].untag().dump() == signer.signed_octets


def test_rfc8419_ed25519() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    signed_data = read(build(key.sign, der.sequence(der.oid(oid.ED25519)), digest=oid.SHA512))

    verify_signer(signed_data, signed_data.signer_infos[0], key.public_key())


def test_rfc5652_5_4_signed_attributes_are_sorted_before_they_are_verified() -> None:
    signed_data = read(build())
    signer = signed_data.signer_infos[0]
    raw = [attribute.encode() for attribute in signer.signed_attributes]
    unsorted = der.encode(der.context(0), b"".join(reversed(raw)))
    encoded = signer.encode().replace(der.encode(der.context(0), b"".join(raw)), unsorted)
    assert encoded != signer.encode()

    again = der.whole(encoded, SignerInfo.parse)

    assert again.signed_attributes == signer.signed_attributes[::-1]
    verify_signer(signed_data, again, KEY.public_key())


# ---- what is not believed

SIGNED = read(build(content_type=oid.CCT_PKI_DATA))
SIGNER = SIGNED.signer_infos[0]
DIGEST = next(one for one in SIGNER.signed_attributes if one.attr_type == oid.MESSAGE_DIGEST)


def signed_with(*attributes: Attribute) -> SignerInfo:
    """Return a SignerInfo whose signature over these attributes is right."""
    octets = der.set_of(attribute.encode() for attribute in attributes)
    return replace(
        SIGNER,
        signed_attributes=attributes,
        signed_octets=octets,
        signature=KEY.sign(octets, ec.ECDSA(hashes.SHA256())),
    )


CONTENT_TYPE = Attribute(oid.CONTENT_TYPE, (der.oid(oid.CCT_PKI_DATA),))


def test_attributes_that_are_varied_below_are_taken() -> None:
    verify_signer(SIGNED, signed_with(CONTENT_TYPE, DIGEST), KEY.public_key())


BAD: dict[str, Callable[[], tuple[SignedData, SignerInfo]]] = {
    "rfc5652_5_6_other_content": lambda: (replace(SIGNED, content=CONTENT + b"!"), SIGNER),
    "rfc5652_5_3_other_content_type": lambda: (replace(SIGNED, content_type=oid.PKCS7_DATA), SIGNER),
    "rfc5652_5_2_no_content": lambda: (replace(SIGNED, content=None), SIGNER),
    "rfc5652_5_3_no_attributes": lambda: (SIGNED, replace(SIGNER, signed_attributes=())),
    "rfc5652_5_4_attributes_changed": lambda: (
        SIGNED,
        replace(SIGNER, signed_octets=SIGNER.signed_octets[:-1] + b"\x00"),
    ),
    "rfc5652_5_5_signature_of_another": lambda: (SIGNED, replace(SIGNER, signature=bytes(64))),
    "rfc5754_3_sha1_signature": lambda: (
        SIGNED,
        replace(SIGNER, signature_algorithm=AlgorithmIdentifier(oid.ECDSA_WITH_SHA1)),
    ),
    "rfc5754_2_sha1_digest": lambda: (
        SIGNED,
        replace(SIGNER, digest_algorithm=AlgorithmIdentifier(oid.SHA1)),
    ),
    "rfc5754_3_2_rsa_by_a_key_of_ec": lambda: (
        SIGNED,
        replace(SIGNER, signature_algorithm=AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null())),
    ),
}


@pytest.mark.parametrize("rule", BAD)
def test_signature_that_does_not_hold_is_refused(rule: str) -> None:
    signed_data, signer = BAD[rule]()
    with pytest.raises(BadSignatureError):
        verify_signer(signed_data, signer, KEY.public_key())


MALFORMED_ATTRIBUTES = {
    "rfc5652_11_1_content_type_missing": (DIGEST,),
    "rfc5652_11_2_message_digest_missing": (CONTENT_TYPE,),
    "rfc5652_11_1_two_values": (Attribute(oid.CONTENT_TYPE, CONTENT_TYPE.values * 2), DIGEST),
    "rfc5652_11_1_no_value": (Attribute(oid.CONTENT_TYPE, ()), DIGEST),
    "rfc5652_5_3_repeated": (CONTENT_TYPE, DIGEST, CONTENT_TYPE),
    "rfc5652_11_1_no_oid": (Attribute(oid.CONTENT_TYPE, (der.null(),)), DIGEST),
    "rfc5652_11_2_no_octet_string": (CONTENT_TYPE, Attribute(oid.MESSAGE_DIGEST, (der.null(),))),
}


@pytest.mark.parametrize("rule", MALFORMED_ATTRIBUTES)
def test_malformed_signed_attributes_are_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        verify_signer(SIGNED, signed_with(*MALFORMED_ATTRIBUTES[rule]), KEY.public_key())


def test_digest_that_is_not_served_is_not_signed_with() -> None:
    with pytest.raises(BadSignatureError):
        signed_attributes(oid.PKCS7_DATA, CONTENT, digest_algorithm=oid.SHA1, signing_time=NOW)


# ---- structure


def signed_data_of(*parts: bytes) -> bytes:
    return ContentInfo(oid.PKCS7_SIGNED_DATA, der.sequence(*parts)).encode()


VERSION = der.integer(3)
NONE = der.set_of([])
DATA = der.sequence(der.oid(oid.PKCS7_DATA))


def test_parts_that_are_varied_below_are_taken() -> None:
    assert read(signed_data_of(VERSION, NONE, DATA, NONE)) == SignedData(oid.PKCS7_DATA, None)


def test_rfc5652_10_2_2_other_certificates_and_crls_are_passed_over() -> None:
    certificates = der.encode(der.context(0), CERTIFICATE + der.encode(der.context(3), der.null()))
    crls = der.encode(der.context(1), der.sequence())

    assert read(signed_data_of(VERSION, NONE, DATA, certificates, crls, NONE)).certificates == (CERTIFICATE,)


def signer_info(version: int, sid: bytes, *attributes: bytes) -> bytes:
    algorithm = der.sequence(der.oid(oid.SHA256))
    return der.sequence(
        der.integer(version), sid, algorithm, *attributes, ECDSA_SHA256, der.octet_string(b"s")
    )


MALFORMED = {
    "rfc5652_3_other_content": ContentInfo(oid.PKCS7_DATA, der.octet_string(b"")).encode(),
    "rfc5652_3_no_content": der.sequence(der.oid(oid.PKCS7_SIGNED_DATA)),
    "rfc5652_3_after_the_content": der.sequence(
        der.oid(oid.PKCS7_SIGNED_DATA), der.explicit(0, der.sequence()), der.null()
    ),
    "rfc5652_5_1_version_0": signed_data_of(der.integer(0), NONE, DATA, NONE),
    "rfc5652_5_1_version_6": signed_data_of(der.integer(6), NONE, DATA, NONE),
    "rfc5652_5_1_signers_missing": signed_data_of(VERSION, NONE, DATA),
    "rfc5652_5_1_sixth_element": signed_data_of(VERSION, NONE, DATA, NONE, der.null()),
    "rfc5652_5_2_content_no_octets": signed_data_of(
        VERSION, NONE, der.sequence(der.oid(oid.PKCS7_DATA), der.explicit(0, der.null())), NONE
    ),
    "rfc5652_5_3_version_1_by_key": signed_data_of(
        VERSION, NONE, DATA, der.set_of([signer_info(1, BY_KEY.encode())])
    ),
    "rfc5652_5_3_version_3_by_issuer": signed_data_of(
        VERSION, NONE, DATA, der.set_of([signer_info(3, BY_ISSUER.encode())])
    ),
    "rfc5652_5_3_attributes_empty": signed_data_of(
        VERSION,
        NONE,
        DATA,
        der.set_of([signer_info(3, BY_KEY.encode(), der.encode(der.context(0), b""))]),
    ),
}


@pytest.mark.parametrize("rule", MALFORMED)
def test_malformed_message_is_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        read(MALFORMED[rule])


ATTRIBUTE = Attribute("1.2.3", (der.null(),)).encode()
TOO_LARGE = {
    "bytes": bytes(MAX_CMS_BYTES + 1),
    "certificates": signed_data_of(
        VERSION, NONE, DATA, der.encode(der.context(0), der.sequence() * (MAX_CERTIFICATES + 1)), NONE
    ),
    "signers": signed_data_of(
        VERSION, NONE, DATA, der.encode(der.SET, signer_info(3, BY_KEY.encode()) * (MAX_SIGNERS + 1))
    ),
    "attributes": signed_data_of(
        VERSION,
        NONE,
        DATA,
        der.set_of(
            [signer_info(3, BY_KEY.encode(), der.encode(der.context(0), ATTRIBUTE * (MAX_ATTRIBUTES + 1)))]
        ),
    ),
    "digests": signed_data_of(VERSION, der.encode(der.SET, ECDSA_SHA256 * 17), DATA, NONE),
    "values": signed_data_of(
        VERSION,
        NONE,
        DATA,
        der.set_of(
            [
                signer_info(
                    3,
                    BY_KEY.encode(),
                    der.encode(der.context(0), Attribute("1.2.3", (der.null(),) * 33).encode()),
                )
            ]
        ),
    ),
}


@pytest.mark.parametrize("bound", TOO_LARGE)
def test_message_over_a_bound_is_refused(bound: str) -> None:
    with pytest.raises(TooLargeError):
        read(TOO_LARGE[bound])


def test_certificate_that_cannot_be_read_is_nobodys() -> None:
    good = read(vector("openssl_p384_key_identifier.der"))
    [signer], [certificate] = good.signer_infos, good.certificates
    other_version = certificate.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x17", 1)
    assert other_version != certificate
    unreadable = (der.sequence(), b"", certificate[:-1], other_version)

    assert signer_certificate(replace(good, certificates=unreadable), signer) is None
    assert signer_certificate(replace(good, certificates=(*unreadable, certificate)), signer) == certificate
    assert signer_certificate(replace(good, certificates=(CERTIFICATE,)), signer) is None


# ---- octets of any kind


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["openssl_rsa_pss.der", "openssl_p256_stream.ber", "openssl_p384_key_identifier.der"]),
    st.integers(0, 2000),
    st.integers(0, 4),
    st.binary(max_size=4),
)
def test_altered_message_is_refused_or_says_the_same(name: str, at: int, cut: int, put: bytes) -> None:
    original = vector(name)
    at %= len(original)
    want = read(original)
    key = key_of(signer_certificate(want, want.signer_infos[0]))
    try:
        signed_data = read(original[:at] + put + original[at + cut :])
        for signer in signed_data.signer_infos:
            signer_certificate(signed_data, signer)
            verify_signer(signed_data, signer, key)
            assert (signed_data.content_type, signed_data.content) == (want.content_type, want.content)
    except ProtocolError:
        return


IDENTIFIERS = st.one_of(
    st.binary(min_size=1, max_size=20).map(SubjectKeyIdentifier),
    st.integers(-(2**70), 2**70).map(lambda serial: IssuerAndSerialNumber(NAME, serial)),
)


@settings(deadline=None)
@given(IDENTIFIERS, st.binary(max_size=300), st.sampled_from([oid.PKCS7_DATA, oid.CCT_PKI_DATA]))
def test_any_content_comes_back(sid: Any, content: bytes, content_type: str) -> None:
    attributes = signed_attributes(content_type, content, digest_algorithm=oid.SHA384, signing_time=NOW)
    message = assemble(
        content_type,
        content,
        attributes,
        signer=sid,
        digest_algorithm=oid.SHA384,
        signature_algorithm=ECDSA_SHA256,
        signature=KEY.sign(attributes, ec.ECDSA(hashes.SHA256())),
        certificates=[],
    )
    signed_data = read(message)

    verify_signer(signed_data, signed_data.signer_infos[0], KEY.public_key())
    assert (signed_data.content, signed_data.signer_infos[0].sid) == (content, sid)
    assert signed_data.to_content_info().encode() == message
