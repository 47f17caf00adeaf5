"""The extensions of delta and partitioned CRLs: known octets, what cryptography reads, what is not built."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography import x509

from protocols.asn1 import der
from protocols.asn1.pkix import Extension
from protocols.crl_extensions import (
    delta_crl_indicator,
    expired_certs_on_crl,
    freshest_crl,
    issuing_distribution_point,
)
from protocols.errors import MalformedError

URL = "http://a.mn/1.crl"
URL_HEX = URL.encode().hex()
SINCE = datetime(2016, 7, 1, tzinfo=UTC)

ENCODED = [
    ("rfc5280_5_2_4_delta", delta_crl_indicator(255), "300e0603551d1b0101ff0404020200ff"),
    (
        "rfc5280_5_2_5_full_name",
        issuing_distribution_point(URL),
        f"30230603551d1c0101ff04193017a015a0138611{URL_HEX}",
    ),
    ("rfc5280_5_2_6_freshest", freshest_crl([URL]), f"30220603551d2e041b30193017a015a0138611{URL_HEX}"),
    (
        "x509_expired_certs",
        expired_certs_on_crl(SINCE),
        "30180603551d3c0411180f32303136303730313030303030305a",
    ),
]


@pytest.mark.parametrize(("rule", "encoded", "want"), ENCODED, ids=[row[0] for row in ENCODED])
def test_extension_is_these_octets(rule: str, encoded: bytes, want: str) -> None:
    assert encoded.hex() == want


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
