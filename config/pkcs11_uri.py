"""PKCS #11 URIs (RFC 7512): which token, which key on it, by which module, and where its PIN is."""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, unquote_to_bytes

from config.errors import refuse

MAX_URI_CHARACTERS: Final = 4096  # a path and a few names
_SCHEME: Final = "pkcs11:"
# RFC 7512 §2.3: what may stand unescaped in path and query; the rest is percent-encoded.
_PATH_VALUE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*")
_PATH: Final = {"token": "token", "serial": "serial", "object": "object", "id": "id"}
_QUERY: Final = {"module-path": "module_path", "pin-source": "pin_source"}
_RULE: Final = (
    "a URI like pkcs11:token=NAME;serial=NUMBER?module-path=/usr/lib/module.so&pin-source=file:/path/of/pin"
)
FILE: Final = "file:"
ENVIRONMENT: Final = "env:"


@dataclass(frozen=True, slots=True)
class PKCS11URI:
    """The attributes of a PKCS #11 URI that are understood here, percent-decoded; None where absent."""

    token: str | None = None
    serial: str | None = None
    object: str | None = None
    id: bytes | None = None
    module_path: str | None = None
    pin_source: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the URI in a text; `RuleError` for other texts.

        Other attributes of RFC 7512 are refused, not ignored: each narrows what is meant. So is pin-value,
        which would have a PIN stand in files, arguments and logs.
        """
        if len(text) > MAX_URI_CHARACTERS or not text.startswith(_SCHEME):
            raise refuse("no PKCS #11 URI", _RULE)
        path, _, query = text.removeprefix(_SCHEME).partition("?")
        found = _attributes(path, ";", _PATH, _PATH_VALUE) | _attributes(query, "&", _QUERY, _QUERY_VALUE)
        identifier = found.pop("id", None)
        return cls(**{name: _text(name, value) for name, value in found.items()}, id=identifier)

    def __str__(self) -> str:
        """Return the URI; it names the place of a PIN and never holds one."""
        path, query = (
            [
                f"{name}={_quoted(getattr(self, field))}"
                for name, field in table.items()
                if getattr(self, field) is not None
            ]
            for table in (_PATH, _QUERY)
        )
        return _SCHEME + ";".join(path) + ("?" + "&".join(query) if query else "")

    @property
    def pin_file(self) -> str | None:
        """The path of the PIN's file, None where the source is none: `file:` and a path, or a path alone."""
        if self.pin_source is None or self.pin_source.startswith(ENVIRONMENT):
            return None
        path = self.pin_source.removeprefix(FILE)
        return path.removeprefix("//") if path.startswith("///") else path

    @property
    def pin_environment(self) -> str | None:
        """The environment variable of the PIN, None where the source is none: `env:` and a name."""
        if self.pin_source is None or not self.pin_source.startswith(ENVIRONMENT):
            return None
        return self.pin_source.removeprefix(ENVIRONMENT)


def parse_token_uri(value: object) -> str:
    """Return the text of a URI that names one token and its module; "" where there is none."""
    if value == "":
        return ""
    if not isinstance(value, str):
        raise refuse("not a text", _RULE)
    uri = PKCS11URI.parse(value)
    if uri.object is not None or uri.id is not None:
        raise refuse("names a key (object, id)", "the URI of the token: its keys are found by their labels")
    if uri.token is None and uri.serial is None:
        raise refuse("names no token", "token or serial is needed: slot numbers change")
    if uri.module_path is None:
        raise refuse("names no module", "module-path is needed: which library drives the token")
    if uri.pin_source is not None and not (uri.pin_file or uri.pin_environment):
        raise refuse("an empty pin-source", "pin-source=file:PATH or env:NAME; without it a person is asked")
    if uri.pin_source is not None and uri.pin_source.startswith("|"):
        raise refuse("a pin-source that is a program", "pin-source=file:PATH or env:NAME; nothing is run")
    return value


def _attributes(
    text: str, separator: str, known: dict[str, str], allowed: re.Pattern[str]
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise refuse("pin-value", "name the place of the PIN by pin-source; no PIN stands in a URI here")
        if name not in known or not equals:
            raise refuse(f"{name[:40]!r} is not understood", f"attributes: {', '.join((*_PATH, *_QUERY))}")
        if known[name] in found:
            raise refuse(f"{name} twice", "each attribute once (RFC 7512 §2.3)")
        if not allowed.fullmatch(value):
            raise refuse(f"{name} is not well formed", "other characters are percent-encoded (RFC 7512 §2.3)")
        found[known[name]] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise refuse(f"{name} is not UTF-8", _RULE) from error
    if "\0" in text:
        raise refuse(f"{name} has a NUL", _RULE)
    return text


def _quoted(value: str | bytes) -> str:
    return quote(value, safe=":/" if isinstance(value, str) else "")
