"""The extensions of delta and partitioned CRLs: known octets, what cryptography reads, what is not built."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import Extension
from protocols.crl_extensions import (
    CRITICAL,
    CRLExtensions,
    IssuingDistributionPoint,
    delta_crl_indicator,
    expired_certs_on_crl,
    freshest_crl,
    issuing_distribution_point,
)
from protocols.errors import MalformedError, ProtocolError

URL = "http://a.mn/1.crl"
URL_HEX = URL.encode().hex()
SINCE = datetime(2016, 7, 1, tzinfo=UTC)

EXTENSIONS = [
    (
        "rfc5280_5_2_4_delta",
        delta_crl_indicator(255),
        "300e0603551d1b0101ff0404020200ff",
        {"base_crl_number": 255},
    ),
    (
        "rfc5280_5_2_5_full_name",
        issuing_distribution_point(URL),
        f"30230603551d1c0101ff04193017a015a0138611{URL_HEX}",
        {"issuing_distribution_point": IssuingDistributionPoint((URL,))},
    ),
    (
        "rfc5280_5_2_6_freshest",
        freshest_crl([URL]),
        f"30220603551d2e041b30193017a015a0138611{URL_HEX}",
        {"freshest_crl": (URL,)},
    ),
    (
        "rfc5280_5_2_6_two_ways_to_one_delta",
        freshest_crl([URL, URL]),
        f"30350603551d2e042e302c302aa028a0268611{URL_HEX}8611{URL_HEX}",
        {"freshest_crl": (URL, URL)},
    ),
    (
        "x509_expired_certs_on_crl",
        expired_certs_on_crl(SINCE),
        "30180603551d3c0411180f32303136303730313030303030305a",
        {"expired_certs_on_crl": SINCE},
    ),
]
NOTHING = CRLExtensions(None, None, None, None, (), None)


@pytest.mark.parametrize(("rule", "built", "encoded", "says"), EXTENSIONS, ids=[row[0] for row in EXTENSIONS])
def test_extension_both_ways(rule: str, built: bytes, encoded: str, says: dict[str, Any]) -> None:
    assert built.hex() == encoded
    assert read(bytes.fromhex(encoded)) == replace(NOTHING, **says)


def read(*extensions: bytes) -> CRLExtensions:
    return CRLExtensions.read(Extension.parse(der.Reader(extension)) for extension in extensions)


def test_rfc5280_5_2_1_and_5_2_3_are_read() -> None:
    identifier = Extension(oid.AUTHORITY_KEY_IDENTIFIER, False, bytes.fromhex("30048002abcd")).encode()
    number = Extension(oid.CRL_NUMBER, False, bytes.fromhex("02020100")).encode()
    assert read(identifier, number) == replace(NOTHING, authority_key_identifier=b"\xab\xcd", crl_number=256)


THEIRS = [
    (delta_crl_indicator(0), x509.DeltaCRLIndicator(0)),
    (delta_crl_indicator(2**159 - 1), x509.DeltaCRLIndicator(2**159 - 1)),
    (
        issuing_distribution_point(URL),
        x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(URL)],
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        ),
    ),
    (
        freshest_crl([URL, URL + "?2"]),
        x509.FreshestCRL(
            [
                x509.DistributionPoint(
                    [x509.UniformResourceIdentifier(URL), x509.UniformResourceIdentifier(URL + "?2")],
                    None,
                    None,
                    None,
                )
            ]
        ),
    ),
]


@pytest.mark.parametrize(("encoded", "theirs"), THEIRS, ids=[theirs.oid._name for _, theirs in THEIRS])
def test_value_is_the_one_that_cryptography_builds(encoded: bytes, theirs: x509.ExtensionType) -> None:
    extension = Extension.parse(der.Reader(encoded))

    assert extension.oid == theirs.oid.dotted_string
    assert extension.value == theirs.public_bytes()


@pytest.mark.parametrize(
    "build",
    [
        lambda: delta_crl_indicator(-1),
        lambda: delta_crl_indicator(1 << 159),
        lambda: issuing_distribution_point(""),
        lambda: issuing_distribution_point("crl/1.crl"),
        lambda: issuing_distribution_point("http://Жишээ.mn/1.crl"),
        lambda: freshest_crl([]),
        lambda: freshest_crl([URL, "no uri"]),
        lambda: expired_certs_on_crl(SINCE.replace(tzinfo=None)),
    ],
    ids=[
        "rfc5280_5_2_3_negative",
        "rfc5280_5_2_3_over_20_octets",
        "rfc5280_5_2_5_empty",
        "relative_url",
        "rfc5280_4_2_1_6_not_ascii",
        "rfc5280_5_2_6_no_name",
        "one_of_two_no_url",
        "time_without_zone",
    ],
)
def test_extension_that_breaks_a_rule_is_not_built(build: Callable[[], bytes]) -> None:
    with pytest.raises(MalformedError):
        build()


URI = "8611" + URL_HEX
FULL_NAME = "a015a013" + URI


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        ("8101ff", "onlyContainsUserCerts"),
        ("8201ff", "onlyContainsCACerts"),
        ("83020640", "onlySomeReasons"),
        ("8401ff", "indirectCRL"),
        ("8501ff", "onlyContainsAttributeCerts"),
    ],
)
def test_rfc5280_5_2_5_what_limits_the_scope_is_read(limit: str, name: str) -> None:
    value = der.sequence(bytes.fromhex(FULL_NAME + limit))
    found = read(Extension(oid.ISSUING_DISTRIBUTION_POINT, True, value).encode())
    assert found.issuing_distribution_point == IssuingDistributionPoint((URL,), (name,))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (oid.AUTHORITY_KEY_IDENTIFIER, "3000"),
        (oid.AUTHORITY_KEY_IDENTIFIER, "30078002abcd820105"),
        (oid.CRL_NUMBER, "0201ff"),
        (oid.CRL_NUMBER, "02150080" + "00" * 19),
        (oid.CRL_NUMBER, "02010500"),
        (oid.DELTA_CRL_INDICATOR, "020105" * 2),
        (oid.DELTA_CRL_INDICATOR, "0a0105"),
        (oid.ISSUING_DISTRIBUTION_POINT, "3000"),
        (oid.ISSUING_DISTRIBUTION_POINT, "3004a002a000"),
        (oid.ISSUING_DISTRIBUTION_POINT, "3003840100"),
        (oid.ISSUING_DISTRIBUTION_POINT, "30068401ff8101ff"),
        (oid.ISSUING_DISTRIBUTION_POINT, "3005a003a10130"),
        (oid.ISSUING_DISTRIBUTION_POINT, "3017a015a013" + URI + "00"),
        (oid.FRESHEST_CRL, "3000"),
        (oid.FRESHEST_CRL, "30023000"),
        (oid.FRESHEST_CRL, "301d301b" + FULL_NAME + "81020640"),
        (oid.FRESHEST_CRL, "300a3008a006a0048602c3a9"),
        (oid.FRESHEST_CRL, "30083006a004a0028600"),
        (oid.FRESHEST_CRL, "30083006a004a0028200"),
        (oid.FRESHEST_CRL, der.sequence(der.sequence(bytes.fromhex(FULL_NAME)) * 17).hex()),
        (
            oid.FRESHEST_CRL,
            der.sequence(
                der.sequence(der.explicit(0, der.encode(der.context(0), bytes.fromhex(URI) * 17)))
            ).hex(),
        ),
        (oid.EXPIRED_CERTS_ON_CRL, "170d3136303730313030303030305a"),
    ],
    ids=[
        "rfc5280_5_2_1_empty",
        "rfc5280_5_2_1_serial_too",
        "rfc5280_5_2_3_negative",
        "rfc5280_5_2_3_over_20_octets",
        "trailing",
        "rfc5280_5_2_4_two_numbers",
        "rfc5280_5_2_4_enumerated",
        "rfc5280_5_2_5_empty_sequence",
        "rfc5280_4_2_1_13_no_name",
        "x690_11_5_default",
        "rfc5280_5_2_5_order",
        "rfc5280_4_2_1_13_relative_name",
        "rfc5280_5_2_5_trailing",
        "rfc5280_4_2_1_13_no_point",
        "rfc5280_4_2_1_13_empty_point",
        "rfc5280_5_2_6_reasons",
        "rfc5280_4_2_1_6_not_ascii",
        "rfc5280_4_2_1_6_empty",
        "no_uri",
        "bound_of_points",
        "bound_of_names",
        "x509_utc_time",
    ],
)
def test_extension_that_breaks_a_rule_is_not_read(kind: str, value: str) -> None:
    with pytest.raises(ProtocolError):
        read(Extension(kind, False, bytes.fromhex(value)).encode())


@given(
    st.sampled_from(sorted(CRITICAL)),
    st.sampled_from([bytes.fromhex(row[2]) for row in EXTENSIONS]),
    st.binary(max_size=40),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_only_our_errors_escape(kind: str, encoded: bytes, insert: bytes, low: int, high: int) -> None:
    value = Extension.parse(der.Reader(encoded)).value
    for damaged in (insert, value[:low] + insert + value[high:]):
        try:
            read(Extension(kind, CRITICAL[kind], damaged).encode())
        except ProtocolError:
            continue
