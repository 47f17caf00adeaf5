"""CsrAttrs: the examples of RFC 7030 and RFC 9908 both ways, descriptions, every rule broken once."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc8951, rfc9908

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier, Attribute, Extension, encode_extensions
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.est.csr_attributes import (
    MAX_CSR_ATTRS_BYTES,
    CsrAttrs,
    CSRDescription,
    KeySpec,
    csr_attrs,
)
from protocols.est.csr_template import (
    MAX_ATTRIBUTES,
    CertificationRequestInfoTemplate,
    ExtensionTemplate,
    SingleAttributeTemplate,
    SubjectPublicKeyInfoTemplate,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "est"
MAC_ADDRESS = "1.3.6.1.1.1.1.22"
FRIENDLY_NAME = "1.2.840.113549.1.9.20"
FAVOURITE_DRINK = "0.9.2342.19200300.100.1.5"
P384 = KeySpec(oid.EC_PUBLIC_KEY, oid.SECP384R1)
ACP_SAN = der.sequence(
    der.encode(
        der.context(0),
        der.oid("1.3.6.1.5.5.7.8.10")
        + der.explicit(0, der.encode(0x16, b"rfc8994+fd739fc23c3440112233445500000000+@acp.example.com")),
    )
)


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.der").read_bytes()


# ---- the list of RFC 7030

DESCRIBED = {
    "rfc9908_5_1_acp_node_name": CSRDescription(
        extensions=(ExtensionTemplate(oid.SUBJECT_ALT_NAME, True, ACP_SAN),)
    ),
    "rfc9908_5_2_mac_address": CSRDescription(
        challenge_password=True,
        key=P384,
        attributes=(MAC_ADDRESS,),
        signature_algorithm=oid.ECDSA_WITH_SHA384,
    ),
    "rfc9908_5_4_rsa_4096": CSRDescription(
        challenge_password=True,
        key=KeySpec(oid.RSA_ENCRYPTION, bits=4096),
        signature_algorithm=oid.SHA256_WITH_RSA,
    ),
    "rfc9908_5_5_p384": CSRDescription(
        challenge_password=True,
        key=P384,
        subject=((SingleAttributeTemplate(oid.SERIAL_NUMBER),),),
        signature_algorithm=oid.ECDSA_WITH_SHA384,
    ),
    "rfc9908_5_6_attributes": CSRDescription(
        challenge_password=True,
        key=KeySpec(oid.EC_PUBLIC_KEY, oid.SECP521R1),
        attributes=(FRIENDLY_NAME, FAVOURITE_DRINK, oid.SERIAL_NUMBER),
        signature_algorithm=oid.ECDSA_WITH_SHA512,
    ),
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_rfc9908_5_example_both_ways(name: str) -> None:
    attrs = csr_attrs(DESCRIBED[name], template=False)

    assert attrs.encode() == vector(name)
    assert CsrAttrs.parse(vector(name)) == attrs
    assert attrs.template() is None


def test_rfc7030_4_5_2_example_is_read_though_it_is_wrong() -> None:
    encoded = vector("rfc7030_4_5_2_csr_attributes")

    attrs = CsrAttrs.parse(encoded)

    assert attrs.items == (
        oid.CHALLENGE_PASSWORD,
        Attribute(oid.EC_PUBLIC_KEY, (der.oid(oid.SECP384R1),)),
        Attribute(oid.EXTENSION_REQUEST, (der.oid(MAC_ADDRESS),)),
        oid.ECDSA_WITH_SHA384,
    )
    assert attrs.encode() == encoded


def test_rfc7030_4_5_2_nothing_wanted_is_an_empty_sequence() -> None:
    assert csr_attrs(CSRDescription(), template=True) == CsrAttrs()
    assert CsrAttrs().encode() == b"\x30\x00"


@pytest.mark.parametrize(
    ("key", "want"),
    [
        (KeySpec(oid.ED25519), Attribute(oid.ED25519, ())),
        (KeySpec(oid.RSA_ENCRYPTION), Attribute(oid.RSA_ENCRYPTION, ())),
        (KeySpec(oid.EC_PUBLIC_KEY), Attribute(oid.EC_PUBLIC_KEY, ())),
    ],
    ids=["ed25519", "rsa", "ec"],
)
def test_rfc9908_3_2_key_without_further_requirements(key: KeySpec, want: Attribute) -> None:
    assert csr_attrs(CSRDescription(key=key), template=False).items == (want,)


def test_extensions_with_and_without_value_in_the_list() -> None:
    filled, empty = ExtensionTemplate(oid.KEY_USAGE, True, b"\x05\x00"), ExtensionTemplate(oid.EXT_KEY_USAGE)

    attrs = csr_attrs(CSRDescription(extensions=(empty, filled)), template=False)

    extensions = encode_extensions([Extension(oid.KEY_USAGE, True, b"\x05\x00")])
    assert attrs.items == (Attribute(oid.EXTENSION_REQUEST, (extensions,)), oid.EXT_KEY_USAGE)


# ---- the template of RFC 9908

SAN = der.sequence(der.encode(0x82, b"www.myServer.com"), der.encode(0x87, b""))
KEY_USAGE = der.encode(der.BIT_STRING, b"\x03\x88")
SUBJECT = (
    (SingleAttributeTemplate(oid.COMMON_NAME),),
    (SingleAttributeTemplate(oid.ORGANIZATIONAL_UNIT_NAME, der.utf8_string("myDept")),),
    (SingleAttributeTemplate(oid.ORGANIZATIONAL_UNIT_NAME, der.utf8_string("myGroup")),),
)
EXTENSIONS = (
    ExtensionTemplate(oid.SUBJECT_ALT_NAME, False, SAN),
    ExtensionTemplate(oid.KEY_USAGE, True, KEY_USAGE),
    ExtensionTemplate(oid.EXT_KEY_USAGE),
)
EXAMPLE = CSRDescription(
    subject=SUBJECT, key=KeySpec(oid.EC_PUBLIC_KEY, oid.SECP256R1), extensions=EXTENSIONS
)


def parse_template(encoded: bytes) -> CertificationRequestInfoTemplate:
    return der.whole(encoded, CertificationRequestInfoTemplate.parse)


def template_of(description: CSRDescription) -> CertificationRequestInfoTemplate:
    encoded = csr_attrs(description, template=True).encode()
    template = CsrAttrs.parse(encoded).template()
    assert template is not None
    return template


def test_rfc9908_3_4_example_both_ways() -> None:
    encoded = vector("rfc9908_3_4_template")
    template = parse_template(encoded)

    assert template == template_of(EXAMPLE)
    assert template.encode() == encoded
    assert template.subject == SUBJECT
    assert template.subject_pk_info == SubjectPublicKeyInfoTemplate(
        AlgorithmIdentifier(oid.EC_PUBLIC_KEY, der.oid(oid.SECP256R1))
    )
    assert template.extensions() == EXTENSIONS


def test_rfc9908_4_both_forms_stand_side_by_side() -> None:
    old = csr_attrs(EXAMPLE, template=False).items
    both = csr_attrs(EXAMPLE, template=True).items

    assert both[:-1] == old
    assert isinstance(both[-1], Attribute)
    assert both[-1].attr_type == oid.AA_CERTIFICATION_REQUEST_INFO_TEMPLATE


def test_rfc9908_3_4_absent_where_nothing_is_required() -> None:
    template = template_of(CSRDescription(key=P384))
    assert (template.subject, template.attributes) == (None, ())

    assert template_of(CSRDescription(subject=SUBJECT)).subject_pk_info is None
    attrs = csr_attrs(CSRDescription(challenge_password=True), template=True)
    assert attrs == CsrAttrs((oid.CHALLENGE_PASSWORD,))


def test_rfc9908_3_4_extensions_that_all_have_values_stand_in_extension_request() -> None:
    template = template_of(CSRDescription(extensions=EXTENSIONS[:2]))

    [attribute] = template.attributes
    assert attribute.attr_type == oid.EXTENSION_REQUEST
    assert template.extensions() == EXTENSIONS[:2]


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rfc9908_3_4_placeholder_shows_the_length_of_an_rsa_key(bits: int) -> None:
    info = template_of(CSRDescription(key=KeySpec(oid.RSA_ENCRYPTION, bits=bits))).subject_pk_info

    assert info is not None
    assert info.subject_public_key is not None
    key = der.Reader(info.subject_public_key).enter()
    assert key.integer().bit_length() == bits
    assert info.algorithm == AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null())


def test_rfc9908_3_4_no_placeholder_for_other_keys() -> None:
    for key in (KeySpec(oid.RSA_ENCRYPTION), KeySpec(oid.ED448), P384):
        info = template_of(CSRDescription(key=key)).subject_pk_info
        assert info is not None
        assert info.subject_public_key is None


@pytest.mark.parametrize(
    "description", [EXAMPLE, CSRDescription(key=KeySpec(oid.RSA_ENCRYPTION, bits=3072)), *DESCRIBED.values()]
)
def test_pyasn1_reads_the_same(description: CSRDescription) -> None:
    encoded = csr_attrs(description, template=True).encode()

    independent, rest = decode(encoded, asn1Spec=rfc8951.CsrAttrs())
    assert not rest
    assert encode(independent) == encoded
    template = CsrAttrs.parse(encoded).template()
    assert template is not None
    independent, rest = decode(template.encode(), asn1Spec=rfc9908.CertificationRequestInfoTemplate())
    assert not rest
    if (
        template.attributes
    ):  # where there are none it will not encode: it bounds Attributes as RFC 5912 does not
        assert encode(independent) == template.encode()


# ---- one row for each rule

V1 = der.integer(0)
NO_ATTRIBUTES = der.encode(der.context(1), b"")
TEMPLATE = CertificationRequestInfoTemplate().encode()


def with_attributes(*attributes: Attribute) -> bytes:
    encoded = b"".join(attribute.encode() for attribute in attributes)
    return der.sequence(V1, der.encode(der.context(1), encoded))


def extension_templates(*extensions: bytes) -> bytes:
    return with_attributes(Attribute(oid.AA_EXTENSION_REQ_TEMPLATE, (der.sequence(*extensions),)))


ASKED = Attribute(oid.EXTENSION_REQUEST, (encode_extensions([Extension(oid.KEY_USAGE, False, b"")]),))
OPEN = Attribute(oid.AA_EXTENSION_REQ_TEMPLATE, (der.sequence(ExtensionTemplate(oid.KEY_USAGE).encode()),))
BAD_TEMPLATES = {
    "rfc9908_3_4_version": der.sequence(der.integer(1), NO_ATTRIBUTES),
    "rfc9908_3_4_attributes_missing": der.sequence(V1),
    "rfc9908_3_4_after_the_attributes": der.sequence(V1, NO_ATTRIBUTES, der.null()),
    "rfc9908_3_4_rdn_empty": der.sequence(V1, der.sequence(der.set_of([])), NO_ATTRIBUTES),
    "rfc9908_3_4_rdn_third_element": der.sequence(
        V1,
        der.sequence(der.set_of([der.sequence(der.oid(oid.COMMON_NAME), der.null(), der.null())])),
        NO_ATTRIBUTES,
    ),
    "rfc9908_3_4_key_third_element": der.sequence(
        V1,
        der.encode(
            der.context(0),
            AlgorithmIdentifier(oid.ED25519).encode() + der.bit_string(b"") + der.null(),
        ),
        NO_ATTRIBUTES,
    ),
    "rfc9908_3_4_both_extension_attributes": with_attributes(ASKED, OPEN),
    "rfc9908_3_4_two_extension_templates": with_attributes(OPEN, OPEN),
    "rfc9908_3_4_two_values": with_attributes(Attribute(OPEN.attr_type, OPEN.values * 2)),
    "rfc9908_3_4_no_extension": extension_templates(),
    "rfc9908_3_4_extension_repeated": extension_templates(*[ExtensionTemplate("1.2.3").encode()] * 2),
    "rfc9908_3_4_extension_fourth_element": extension_templates(
        der.sequence(der.oid("1.2.3"), der.octet_string(b""), der.null())
    ),
    "x690_11_5_critical_false": extension_templates(der.sequence(der.oid("1.2.3"), der.boolean(False))),
}


@pytest.mark.parametrize("rule", BAD_TEMPLATES)
def test_malformed_template_is_refused(rule: str) -> None:
    parse_template(TEMPLATE)
    with pytest.raises(MalformedError):
        parse_template(BAD_TEMPLATES[rule])


def with_template(value: bytes) -> bytes:
    return Attribute(oid.AA_CERTIFICATION_REQUEST_INFO_TEMPLATE, (value,)).encode()


MALFORMED = {
    "rfc7030_4_5_2_no_sequence": der.set_of([]),
    "rfc7030_4_5_2_neither_oid_nor_attribute": der.sequence(der.null()),
    "rfc7030_4_5_2_values_no_set": der.sequence(der.sequence(der.oid("1.2.3"), der.sequence())),
    "rfc7030_4_5_2_trailing_octet": der.sequence() + b"\x00",
    "rfc9908_3_2_two_extension_requests": der.sequence(ASKED.encode(), ASKED.encode()),
    "rfc9908_3_4_two_templates": der.sequence(with_template(TEMPLATE), with_template(TEMPLATE)),
    "rfc9908_3_4_no_template": der.sequence(with_template(der.null())),
}


@pytest.mark.parametrize("rule", MALFORMED)
def test_malformed_attributes_are_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        CsrAttrs.parse(MALFORMED[rule]).template()


@pytest.mark.parametrize(
    "encoded",
    [
        der.sequence(*[der.oid("1.2.3")] * (MAX_ATTRIBUTES + 1)),
        der.sequence(der.octet_string(bytes(MAX_CSR_ATTRS_BYTES))),
        der.sequence(Attribute("1.2.3", (der.null(),) * 33).encode()),
        der.sequence(with_template(der.sequence(V1, der.sequence(*[der.set_of([b"0\x00"])] * 33)))),
        der.sequence(with_template(extension_templates(*[ExtensionTemplate("1.2.3").encode()] * 65))),
    ],
    ids=["attributes", "bytes", "values", "rdns", "extensions"],
)
def test_attributes_over_a_bound_are_refused(encoded: bytes) -> None:
    with pytest.raises((TooLargeError, MalformedError)) as refusal:
        CsrAttrs.parse(encoded).template()
    assert isinstance(refusal.value, TooLargeError) or b"0\x00" in encoded


# ---- octets of any kind


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 3))
def test_any_octets_raise_only_protocol_errors(octets: bytes, at: int, cut: int) -> None:
    good = csr_attrs(EXAMPLE, template=True).encode()
    for encoded in (octets, good[:at] + octets[:4] + good[at + cut :]):
        with suppress(ProtocolError):
            CsrAttrs.parse(encoded).template()


OIDS = st.sampled_from(["1.2.3", "2.5.4.3", "2.5.29.15", "1.2.840.113549.1.9.20", oid.ED25519])
VALUES = st.none() | st.binary(max_size=40)


@settings(deadline=None)
@given(
    st.booleans(),
    st.none() | st.sampled_from([P384, KeySpec(oid.RSA_ENCRYPTION, bits=2048), KeySpec(oid.ED25519)]),
    st.none() | st.lists(st.lists(st.tuples(OIDS, st.booleans()), min_size=1, max_size=2), max_size=4),
    st.lists(st.tuples(OIDS, st.booleans(), VALUES), max_size=4, unique_by=lambda one: one[0]),
    st.lists(OIDS, max_size=3),
    st.booleans(),
)
def test_any_description_is_read_back(
    challenge: bool,
    key: KeySpec | None,
    rdns: list[list[tuple[str, bool]]] | None,
    extensions: list[Any],
    attributes: list[str],
    template: bool,
) -> None:
    subject = None
    if rdns is not None:
        subject = tuple(
            tuple(
                SingleAttributeTemplate(kind, der.utf8_string("x") if given else None) for kind, given in rdn
            )
            for rdn in rdns
        )
    wanted = tuple(ExtensionTemplate(*extension) for extension in extensions)
    description = CSRDescription(
        challenge_password=challenge,
        key=key,
        subject=subject,
        extensions=wanted,
        attributes=tuple(attributes),
    )
    attrs = csr_attrs(description, template=template)

    again = CsrAttrs.parse(attrs.encode())

    assert again == attrs
    assert (oid.CHALLENGE_PASSWORD in again.items) == challenge
    read = again.template()
    assert (read is not None) == (template and bool(key or wanted or subject is not None))
    if read is not None:
        assert read.extensions() == wanted
        assert read.subject is None or len(read.subject) == len(subject or ())
