"""How a person is reached, and what a person is called: telephone, mail, names."""

import re
import unicodedata
from typing import Final

import phonenumbers

from pkiserver.errors import RefusedError
from pkiserver.ra.registration.numbers import bounded

COUNTRY: Final = "MN"
_COUNTRY_CODE: Final = 976
MAX_MAIL_CHARACTERS: Final = 254  # RFC 5321 §4.5.3.1.3, less the angle brackets
MAX_NAME_CHARACTERS: Final = 64  # ub-common-name, RFC 5280 App. A.1: both names together fill the commonName
# Of RFC 5322 §3.2.3 the dot-atom, ASCII alone: the profiles write rfc822Name (RFC 5280 §4.2.1.6).
_MAIL: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?P<domain>([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9])",
    re.ASCII,
)
_DOMAIN: Final = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.ASCII)
_JOINTS: Final = frozenset(" -'’.")  # what stands between the letters of a name


def parse_phone(text: str) -> str:
    """Return a Mongolian telephone number as +976 and eight digits; `RefusedError` for anything else."""
    try:
        number = phonenumbers.parse(bounded(text), COUNTRY)
    except phonenumbers.NumberParseException as error:
        raise RefusedError("a phone number is +976 and eight digits") from error
    national = str(number.national_number)
    of_country = number.country_code == _COUNTRY_CODE and len(national) == 8 and number.extension is None
    if not of_country or not phonenumbers.is_valid_number(number):
        raise RefusedError("a phone number is +976 and eight digits, of a number range that is in use")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def parse_mail(text: str) -> str:
    """Return a mail address, its domain in small letters; `RefusedError` for anything else."""
    address = bounded(text, 2 * MAX_MAIL_CHARACTERS).strip()
    if len(address) > MAX_MAIL_CHARACTERS or len(address.partition("@")[0]) > 64:
        raise RefusedError(f"a mail address has at most {MAX_MAIL_CHARACTERS} characters, 64 ahead of @")
    if _MAIL.fullmatch(address) is None:
        raise RefusedError("a mail address is name@domain in ASCII characters")
    name, _, domain = address.rpartition("@")
    return f"{name}@{domain.lower()}"


def parse_domain(text: str) -> str:
    """Return a mail domain in small letters; `RefusedError` for anything else."""
    domain = bounded(text, 256).strip().lower()
    if len(domain) > 253 or _DOMAIN.fullmatch(domain) is None:
        raise RefusedError("a mail domain is one such as audit.gov.mn")
    return domain


def is_of_domain(mail: str, domain: str) -> bool:
    """Return whether an address is of a domain or of one below it."""
    found = mail.rpartition("@")[2]
    return found == domain or found.endswith(f".{domain}")


def parse_name(text: str) -> str:
    """Return a name in NFC with single spaces; `RefusedError` where other than letters are in it."""
    name = " ".join(bounded(text, 4 * MAX_NAME_CHARACTERS).split())
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise RefusedError(f"a name has 1 to {MAX_NAME_CHARACTERS} characters")
    if not all(one.isalpha() or one in _JOINTS for one in name) or not name[0].isalpha():
        raise RefusedError("a name begins with a letter and has letters, spaces and - ' ’ .")
    return name


def parse_line(text: str, most: int) -> str:
    """Return a line in NFC with single spaces; `RefusedError` where it is empty, long or unprintable."""
    line = " ".join(bounded(text, 4 * most).split())
    if not 1 <= len(line) <= most or not line.isprintable():
        raise RefusedError(f"this has 1 to {most} printable characters")
    return line


def name_key(name: str) -> str:
    """Return what a name is sorted and searched by: without regard to capitals, Cyrillic ones too."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())
