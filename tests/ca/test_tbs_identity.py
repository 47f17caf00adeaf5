"""approve_identity: each value from where the profile says, held to its rule, and nothing else."""

import contextlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

import config
from config.profile import SHIPPED_PROFILES, load_profile, load_profiles
from config.profile_fields import AttributeType
from pkiserver.ca.identity import ATTRIBUTE_OIDS, Identity, approve_identity
from pkiserver.errors import RefusedError
from protocols.asn1 import der
from protocols.x509.names import parse_san, parse_subject, subject_text

PROFILES = load_profiles(SHIPPED_PROFILES)
SENSOR = load_profile(Path(config.__file__).parent / "examples" / "profiles" / "sensor.toml")
CITIZEN = "CN=Дорж,givenName=Дорж,SN=Бат,serialNumber=PNOMN-123456789012,C=MN"
EMPTY = x509.Name([])
LONG_NAMES = tuple(f"dns:{'a' * 50}{number}.mn" for number in range(80))


def approve(
    profile: str,
    subject: str,
    *san: str,
    requested: str = "",
    requested_san: tuple[str, ...] = (),
    limit: int | None = None,
) -> Identity:
    return approve_identity(
        SENSOR if profile == "sensor" else PROFILES[profile],
        approved_subject=parse_subject(subject) if subject else EMPTY,
        approved_san=tuple(map(parse_san, san)),
        requested_subject=parse_subject(requested) if requested else EMPTY,
        requested_san=tuple(map(parse_san, requested_san)),
        limit_mnt=limit,
    )


def test_every_attribute_of_profiles_has_its_oid() -> None:
    assert set(ATTRIBUTE_OIDS) == set(AttributeType.__args__)  # type: ignore[attr-defined]  # of Literal


def test_order_is_the_profiles_and_fixed_values_are_added() -> None:
    identity = approve("citizen-signature", "serialNumber=PNOMN-123456789012,SN=Бат,givenName=Дорж,CN=Дорж")
    assert subject_text(identity.subject) == CITIZEN
    assert identity.limit_mnt is None
    assert identity.san == ()


def test_requests_are_ignored_where_the_credential_speaks() -> None:
    identity = approve(
        "tls-server",
        "CN=www.gov.mn",
        "dns:www.gov.mn",
        requested="CN=evil.example,O=Other,OU=x,emailAddress=a@b.mn",
        requested_san=("dns:evil.example", "ip:10.0.0.1", "email:a@b.mn"),
    )
    assert identity == Identity(parse_subject("CN=www.gov.mn"), (parse_san("dns:www.gov.mn"),))


def test_approving_its_own_result_changes_nothing() -> None:
    first = approve(
        "government-token", "title=Дарга,CN=Дорж,O=Яам,organizationIdentifier=NTRMN-1", "email:d@gov.mn"
    )
    again = approve_identity(
        PROFILES["government-token"],
        approved_subject=first.subject,
        approved_san=first.san,
        requested_subject=first.subject,
        requested_san=first.san,
    )
    assert again == first


def test_names_become_their_string_types() -> None:
    typed = x509.Name(
        [
            x509.NameAttribute(NameOID.SERIAL_NUMBER, "PNOMN-123456789012", x509.name._ASN1Type.UTF8String),
            x509.NameAttribute(NameOID.SURNAME, "Бат"),
            x509.NameAttribute(NameOID.GIVEN_NAME, "Дорж"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Dorj", x509.name._ASN1Type.PrintableString),
        ]
    )
    identity = approve_identity(
        PROFILES["citizen-signature"], approved_subject=typed, requested_subject=EMPTY
    )
    assert (
        identity.subject.public_bytes() == parse_subject(CITIZEN.replace("CN=Дорж", "CN=Dorj")).public_bytes()
    )


@pytest.mark.parametrize(
    ("profile", "subject", "san", "limit", "message"),
    [
        ("citizen-signature", "CN=Дорж", (), None, "serialNumber is required; .*surname is required"),
        ("citizen-signature", CITIZEN.replace("9012", "901"), (), None, "serialNumber does not match"),
        ("citizen-signature", CITIZEN.replace("PNOMN", "PNOUS"), (), None, "serialNumber does not match"),
        ("citizen-signature", CITIZEN.replace("C=MN", "C=US"), (), None, "countryName is always MN"),
        ("citizen-signature", f"OU=x,{CITIZEN}", (), None, "organizationalUnitName has no place"),
        (
            "citizen-signature",
            f"emailAddress=a@b.mn,{CITIZEN}",
            (),
            None,
            r"1\.2\.840\.113549\.1\.9\.1 has no place",
        ),
        ("citizen-signature", f"CN=Бат,{CITIZEN}", (), None, "commonName is approved twice"),
        (
            "citizen-signature",
            CITIZEN.replace("SN=Бат", f"SN={'б' * 129}"),
            (),
            None,
            "surname is longer than 128",
        ),
        ("citizen-signature", CITIZEN, ("dns:a.mn",), None, "dns names have no place"),
        ("citizen-signature", CITIZEN, (), 0, "not between 1 and"),
        ("tls-server", "CN=a.mn", LONG_NAMES, None, "names together are longer than 4096 bytes"),
        ("citizen-signature", CITIZEN, (), 10**15 + 1, "not between 1 and"),
        ("citizen-authentication", CITIZEN, (), 5, "value limit has no place"),
        (
            "government-token",
            "CN=Дорж,title=a,O=b,organizationIdentifier=NTRMN-1",
            (),
            None,
            "1 or more email",
        ),
        (
            "government-token",
            "CN=Дорж,title=a,O=b,organizationIdentifier=1",
            ("email:a@b.mn",),
            None,
            "not match",
        ),
        (
            "government-token",
            "CN=Дорж,title=a,O=b,organizationIdentifier=NTRMN-1",
            ("email:a@b.mn", "email:c@b.mn"),
            None,
            "more than 1 email",
        ),
        ("tls-server", "CN=Not a host", (), None, r"a name is required \(dns or ip\)"),
        ("tls-server", "CN=a.mn", ("dns:*.a.mn",), None, "does not match"),
        ("tls-server", "CN=a.mn", ("uri:http://a.mn",), None, "uri names have no place"),
    ],
)
def test_refused(profile: str, subject: str, san: tuple[str, ...], limit: int | None, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        approve(profile, subject, *san, limit=limit)


def test_common_name_is_the_dns_name_where_none_is_approved() -> None:
    assert approve("tls-server", "CN=www.gov.mn").san == (parse_san("dns:www.gov.mn"),)
    assert approve("tls-server", "CN=www.gov.mn", "dns:gov.mn").san == (parse_san("dns:gov.mn"),)
    with pytest.raises(RefusedError, match="a name is required"):
        approve("tls-server", "CN=*.gov.mn")


SENSOR_REQUEST = "CN=sensor-000001,serialNumber=S-000001"
SENSOR_SAN = ("dns:sensor-000001.sensors.example.mn",)


def test_request_speaks_where_the_profile_says_so() -> None:
    identity = approve("sensor", "O=Цаг уур", requested=SENSOR_REQUEST + ",O=Other", requested_san=SENSOR_SAN)
    assert subject_text(identity.subject) == f"{SENSOR_REQUEST},O=Цаг уур"
    assert identity.san == tuple(map(parse_san, SENSOR_SAN))


@pytest.mark.parametrize(
    ("subject", "san", "requested", "requested_san", "message"),
    [
        ("O=a", (), "", (), "serialNumber is required; subject: commonName is required; san: 1 or more"),
        ("O=a", (), "CN=sensor-1,serialNumber=S-000001", SENSOR_SAN, "commonName does not match"),
        ("O=a", (), SENSOR_REQUEST, ("dns:www.gov.mn",), "does not match"),
        ("O=a", (), f"CN=sensor-000002,{SENSOR_REQUEST}", SENSOR_SAN, "commonName is required"),
        ("O=a,CN=sensor-000002", (), SENSOR_REQUEST, SENSOR_SAN, "requested commonName is not the approved"),
        ("O=a", ("dns:sensor-000002.sensors.example.mn",), SENSOR_REQUEST, SENSOR_SAN, "requested dns names"),
    ],
)
def test_request_is_held_to_rules_and_to_what_was_approved(
    subject: str, san: tuple[str, ...], requested: str, requested_san: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        approve("sensor", subject, *san, requested=requested, requested_san=requested_san)


def test_without_a_request_only_what_it_would_say_is_not_missed() -> None:
    def check(subject: str) -> None:
        approve_identity(SENSOR, approved_subject=parse_subject(subject), requested_subject=None)

    check("O=a")
    with pytest.raises(RefusedError, match=r"organizationName is required$"):
        check("CN=sensor-000001")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=70))
def test_any_requested_text_gives_a_sound_name_or_is_refused(text: str) -> None:
    raw = x509.Name.from_bytes(_common_name(text))
    profile = SENSOR.model_copy(
        update={"subject": (SENSOR.subject[2].model_copy(update={"pattern": ""}),), "san": ()}
    )
    with contextlib.suppress(RefusedError):
        identity = approve_identity(profile, approved_subject=EMPTY, requested_subject=raw)
        assert parse_subject(subject_text(identity.subject)) == identity.subject


def _common_name(text: str) -> bytes:
    return der.sequence(der.set_of([der.sequence(der.oid("2.5.4.3"), der.utf8_string(text))]))
