"""PKCS #11 URIs: what RFC 7512 allows, and what of it is understood here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import RuleError
from config.pkcs11_uri import MAX_URI_CHARACTERS, PKCS11URI, parse_token_uri

MODULE = "module-path=/usr/lib/m.so"
GOOD = [
    ("pkcs11:", PKCS11URI()),
    (f"pkcs11:token=national-ca?{MODULE}", PKCS11URI("national-ca", module_path="/usr/lib/m.so")),
    (
        # RFC 7512 §3: blanks and the like are percent-encoded; a file: URI as pin-source.
        f"pkcs11:token=The%20Software%20Token;serial=0A1b?{MODULE}&pin-source=file:/etc/pin",
        PKCS11URI("The Software Token", "0A1b", module_path="/usr/lib/m.so", pin_source="file:/etc/pin"),
    ),
    ("pkcs11:object=ca-root;id=%69%95%00", PKCS11URI(object="ca-root", id=b"\x69\x95\x00")),
    ("pkcs11:token=%D1%82?pin-source=env:PIN", PKCS11URI("т", pin_source="env:PIN")),
    ("pkcs11:token=a&b", PKCS11URI("a&b")),
]
BAD = [
    "",
    "token=a",
    "PKCS12:token=a",
    "pkcs11:token",
    "pkcs11:token=a;token=b",
    "pkcs11:token=a b",
    "pkcs11:token=%zz",
    "pkcs11:token=%ff",
    "pkcs11:token=%00",
    "pkcs11:token=a;",
    "pkcs11:slot-id=1",
    "pkcs11:manufacturer=x",
    "pkcs11:token=a?module-name=m",
    "pkcs11:module-path=/m.so",
    "pkcs11:token=a?token=b",
    "pkcs11:token=a#b",
    "pkcs11:" + "x" * MAX_URI_CHARACTERS,
]


@pytest.mark.parametrize(("text", "wanted"), GOOD)
def test_rfc7512_2_3_read_and_written(text: str, wanted: PKCS11URI) -> None:
    assert PKCS11URI.parse(text) == wanted
    assert PKCS11URI.parse(str(wanted)) == wanted


@pytest.mark.parametrize("text", BAD)
def test_rfc7512_2_3_other_texts_are_refused(text: str) -> None:
    with pytest.raises(RuleError):
        PKCS11URI.parse(text)


def test_rfc7512_7_no_pin_stands_in_a_uri() -> None:
    with pytest.raises(RuleError, match="pin-value") as caught:
        PKCS11URI.parse(f"pkcs11:token=a?{MODULE}&pin-value=123456")
    assert "123456" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "file", "variable"),
    [
        (None, None, None),
        ("file:/run/pin", "/run/pin", None),
        ("file:///run/pin", "/run/pin", None),
        ("pin", "pin", None),
        ("env:OUR_PIN", None, "OUR_PIN"),
    ],
)
def test_where_the_pin_is(source: str | None, file: str | None, variable: str | None) -> None:
    uri = PKCS11URI("a", pin_source=source)
    assert (uri.pin_file, uri.pin_environment) == (file, variable)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (1, "not a text"),
        (f"pkcs11:?{MODULE}", "names no token"),
        ("pkcs11:token=a", "names no module"),
        (f"pkcs11:token=a;object=k?{MODULE}", "names a key"),
        (f"pkcs11:token=a;id=%01?{MODULE}", "names a key"),
        (f"pkcs11:token=a?{MODULE}&pin-source=env:", "empty pin-source"),
        (f"pkcs11:token=a?{MODULE}&pin-source=file:", "empty pin-source"),
        (f"pkcs11:token=a?{MODULE}&pin-source=|/bin/pin", "is a program"),
    ],
)
def test_a_token_is_named_whole(text: object, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        parse_token_uri(text)


@given(st.text(max_size=60).map(lambda text: f"pkcs11:token={text}") | st.text(max_size=60))
def test_only_its_own_errors_escape(text: str) -> None:
    try:
        uri = PKCS11URI.parse(text)
    except RuleError:
        return
    assert PKCS11URI.parse(str(uri)) == uri
