"""csrattrs from the profiles (RFC 7030 §4.5.2, RFC 9908 §3.4)."""

from pathlib import Path

import pytest
from cryptography import x509
from test_enrollment import CITIZEN, Registration, csr, new_key

from config.profile import SHIPPED_PROFILES, load_profile, load_profiles
from pkiserver.core import Core
from pkiserver.errors import NotFoundError
from pkiserver.ra.csr_attributes import csr_attributes
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.est.csr_attributes import CsrAttrs
from protocols.est.csr_template import ExtensionTemplate, SingleAttributeTemplate

MINIMAL = """
description = "A sensor"
issuer = "infrastructure"
lifetime = "90d"
key_usage = ["digitalSignature"]
{more}
[[subject]]
attribute = "commonName"
source = "request"
"""


def attributes_of(folder: Path, more: str) -> CsrAttrs:
    path = folder / "sensor.toml"
    path.write_text(MINIMAL.format(more=more))
    return CsrAttrs.parse(csr_attributes(load_profile(path)))


@pytest.mark.parametrize("name", [one.name for one in load_profiles(SHIPPED_PROFILES).values() if one.enroll])
def test_every_shipped_profile_has_both_forms(name: str) -> None:
    attributes = CsrAttrs.parse(csr_attributes(load_profiles(SHIPPED_PROFILES)[name]))
    template = attributes.template()
    assert template is not None
    assert oid.KEY_USAGE in [one.oid for one in template.extensions()]
    assert oid.EXTENSION_REQUEST in [getattr(one, "attr_type", one) for one in attributes.items]


def test_names_of_a_citizen() -> None:
    template = CsrAttrs.parse(csr_attributes(load_profiles(SHIPPED_PROFILES)["citizen-signature"])).template()
    assert template is not None
    assert template.subject == (
        (SingleAttributeTemplate(oid.COUNTRY_NAME, der.encode(der.PRINTABLE_STRING, b"MN")),),
        *(
            (SingleAttributeTemplate(one),)
            for one in (oid.SERIAL_NUMBER, oid.SURNAME, oid.GIVEN_NAME, oid.COMMON_NAME)
        ),
    )
    assert template.subject_pk_info is None  # RSA and elliptic curves are taken
    (usage,) = template.extensions()
    assert (usage.oid, usage.critical) == (oid.KEY_USAGE, True)
    assert (
        usage.value
        == x509.KeyUsage(
            **dict.fromkeys(
                ("digital_signature", "key_encipherment", "data_encipherment", "key_agreement"), False
            ),
            content_commitment=True,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        ).public_bytes()
    )


def test_san_that_must_be_there_is_left_to_the_client() -> None:
    template = CsrAttrs.parse(csr_attributes(load_profiles(SHIPPED_PROFILES)["tls-server"])).template()
    assert template is not None
    assert ExtensionTemplate(oid.SUBJECT_ALT_NAME) in template.extensions()
    assert template.subject is None  # it has optional attributes alone


@pytest.mark.parametrize(
    ("keys", "algorithm", "modulus_bits"),
    [
        ('["ec:P-384"]', AlgorithmIdentifier(oid.EC_PUBLIC_KEY, der.oid(oid.SECP384R1)), None),
        ('["ec:P-256", "ec:P-384"]', AlgorithmIdentifier(oid.EC_PUBLIC_KEY), None),
        ('["rsa:3072", "rsa:4096"]', AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null()), 3072),
        ('["ed25519"]', AlgorithmIdentifier(oid.ED25519), None),
        ('["ec:P-256", "rsa:2048"]', None, None),
    ],
)
def test_key(
    tmp_path: Path, keys: str, algorithm: AlgorithmIdentifier | None, modulus_bits: int | None
) -> None:
    template = attributes_of(tmp_path, f"keys = {keys}").template()
    assert template is not None
    if algorithm is None:
        assert template.subject_pk_info is None
        return
    assert template.subject_pk_info is not None
    assert template.subject_pk_info.algorithm == algorithm
    placeholder = template.subject_pk_info.subject_public_key
    assert (placeholder is None) == (modulus_bits is None)
    if placeholder is not None:
        assert der.Reader(placeholder).enter().integer().bit_length() == modulus_bits


def test_challenge_password_only_where_linking_is_required(tmp_path: Path) -> None:
    keys = 'keys = ["ec:P-256"]\n'
    assert oid.CHALLENGE_PASSWORD not in attributes_of(tmp_path, keys).items
    assert oid.CHALLENGE_PASSWORD in attributes_of(tmp_path, keys + 'pop_linking = "required"').items


async def test_a_request_as_the_template_says_is_taken(core: Core) -> None:
    registration = Registration(core)
    attributes = core.enrollment.csr_attributes("citizen-authentication")
    assert attributes is not None
    template = CsrAttrs.parse(attributes).template()
    assert template is not None
    assert template.subject is not None
    fixed = [one for (one,) in template.subject if one.value is not None]
    assert [one.attr_type for one in fixed] == [oid.COUNTRY_NAME]
    credential = await registration.credential("citizen-authentication", CITIZEN, ())
    await registration.enroll(credential, csr(new_key(), CITIZEN, ()))


async def test_without_label_there_is_nothing_to_say(core: Core) -> None:
    assert core.enrollment.csr_attributes(None) is None
    with pytest.raises(NotFoundError):
        core.enrollment.csr_attributes("root-ca")
