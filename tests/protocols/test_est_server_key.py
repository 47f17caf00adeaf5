"""What serverkeygen packs and picks, and how a request is linked to its TLS session."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.cms.enveloped_data import KEY_TRANSPORT, KEY_WRAP
from protocols.errors import BadPOPError, ErrorKind
from protocols.est.pop_linking import check_channel_binding
from protocols.est.server_key import NoCommonAlgorithmError, choose_key_encryption
from protocols.x509.request_attributes import SMIMECapability

OAEP_SHA256 = KEY_TRANSPORT[oid.RSAES_OAEP]
OAEP_SHA1 = der.sequence()  # all defaults


@pytest.mark.parametrize(
    ("capabilities", "offered", "want"),
    [
        ([SMIMECapability(oid.AES128_WRAP)], KEY_WRAP, oid.AES128_WRAP),
        (
            [
                SMIMECapability(oid.AES256_CBC),
                SMIMECapability(oid.AES256_WRAP),
                SMIMECapability(oid.AES128_WRAP),
            ],
            KEY_WRAP,
            oid.AES256_WRAP,
        ),
        ([SMIMECapability(oid.RSA_ENCRYPTION, der.null())], KEY_TRANSPORT, oid.RSA_ENCRYPTION),
        ([SMIMECapability(oid.RSAES_OAEP, OAEP_SHA256)], KEY_TRANSPORT, oid.RSAES_OAEP),
        (
            [SMIMECapability(oid.RSAES_OAEP, OAEP_SHA1), SMIMECapability(oid.RSA_ENCRYPTION)],
            KEY_TRANSPORT,
            oid.RSA_ENCRYPTION,
        ),
    ],
)
def test_rfc7030_4_4_2_first_algorithm_of_the_client_that_is_served(
    capabilities: list[SMIMECapability], offered: dict[str, bytes | None], want: str
) -> None:
    assert choose_key_encryption(capabilities, offered) == want


@pytest.mark.parametrize(
    "capabilities",
    [[], [SMIMECapability("1.2.840.113549.3.7")], [SMIMECapability(oid.RSAES_OAEP, OAEP_SHA1)]],
    ids=["none", "triple_des", "oaep_sha1"],
)
def test_rfc7030_4_4_1_client_must_name_one_that_is_served(capabilities: list[SMIMECapability]) -> None:
    with pytest.raises(NoCommonAlgorithmError) as refusal:
        choose_key_encryption(capabilities, KEY_TRANSPORT)

    assert refusal.value.kind is ErrorKind.BAD_REQUEST


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=64))
def test_rfc7030_3_5_tls_unique_in_base64_is_taken(tls_unique: bytes) -> None:
    check_channel_binding(base64.b64encode(tls_unique).decode(), tls_unique)


@pytest.mark.parametrize(
    ("password", "tls_unique"),
    [
        ("AAAA", b"\x00\x00\x01"),
        ("AAAA", b""),
        ("", b""),
        ("AAAA\n", bytes(3)),
        ("нууц", bytes(3)),
        ("AAA=", bytes(3)),
        ("\x00\x00\x00", bytes(3)),
    ],
    ids=["other_session", "no_tls_unique", "both_empty", "line_end", "not_ascii", "padding", "not_base64"],
)
def test_rfc7030_3_5_anything_else_is_refused(password: str, tls_unique: bytes) -> None:
    with pytest.raises(BadPOPError):
        check_channel_binding(password, tls_unique)


@settings(deadline=None)
@given(st.text(max_size=80), st.binary(max_size=40))
def test_any_password_is_taken_for_its_session_only(password: str, tls_unique: bytes) -> None:
    expected = base64.b64encode(tls_unique).decode()
    if password == expected and tls_unique:
        return
    with pytest.raises(BadPOPError):
        check_channel_binding(password, tls_unique)
