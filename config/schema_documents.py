"""Documents: `[documents]` of `pkiserver.toml`."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, StrictBool

from config.base import Section, option
from config.errors import refuse
from config.schema_registration import Retention as Period

_MAX_URL_CHARACTERS: Final = 200  # with a serial number it is still readable as a QR code
_URL_RULE: Final = "https://, a host and perhaps a port and a path, no query: the serial number goes there"


def _register_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise refuse("this is no URL", _URL_RULE) from error
    odd = parts.username is not None or parts.query or parts.fragment or not value.isascii()
    if parts.scheme != "https" or not host or odd or any(one.isspace() for one in value):
        raise refuse("this is not allowed here", _URL_RULE)
    if len(value) > _MAX_URL_CHARACTERS:
        raise refuse(f"{len(value)} characters are too many", f"{_MAX_URL_CHARACTERS} at most")
    return value


RegisterURL = Annotated[str, AfterValidator(_register_url)]


class Documents(Section):
    """Forms, acknowledgements and decisions as PDF."""

    register_url: RegisterURL = option(
        "https://localhost:8443/register",
        description="The public register as citizens reach it: the QR code of a form leads there.",
    )


class Retention(Section):
    """How long documents are kept; what a purge may erase, two administrators decide."""

    applications: Period = option(
        "7y", description="Forms and acknowledgements, after the last certificate of their holder has ended."
    )
    cases: Period = option("7y", description="Decisions, after they were made and the certificate has ended.")
    hand_over_first: StrictBool = option(
        True, description="Whether only what the archive has taken may be purged."
    )
