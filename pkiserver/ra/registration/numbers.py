"""The numbers of a citizen: register number and civil registration number, and what they tell."""

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from pkiserver.errors import RefusedError

_REGISTER_NUMBER: Final = re.compile(r"[А-ЯЁӨҮ]{2}[0-9]{8}")
_CIVIL_ID: Final = re.compile(r"[0-9]{12}")
_ORGANIZATION_NUMBER: Final = re.compile(r"[0-9]{7}")
_MONTH_OFFSET: Final = 20  # added to the month of those who were born from 2000 on
MIN_AGE: Final = 16  # regulation 2.1
MAX_AGE: Final = 130  # a date of birth beyond it is a slip of the pen
# Mongolia has kept one offset since 2017; days of birth and offices are of its civil time.
ULAANBAATAR: Final = timezone(timedelta(hours=8), "Asia/Ulaanbaatar")


def bounded(text: str, most: int = 40) -> str:
    """Return a text in NFC; `RefusedError` where it is longer than anything that could be meant."""
    if len(text) > most:
        raise RefusedError("this is too long")
    return unicodedata.normalize("NFC", text)


def parse_register_number(text: str) -> str:
    """Return a register number in capitals: two Cyrillic letters and eight digits; `RefusedError` else."""
    number = bounded(text).strip().upper()
    if _REGISTER_NUMBER.fullmatch(number) is None:
        raise RefusedError("a register number has two Cyrillic letters and eight digits, such as УБ05231418")
    birth_date_of(number)
    return number


def birth_date_of(register_number: str) -> date:
    """Return the date of birth in a register number; `RefusedError` where its digits are no date."""
    year, month, day = (int(register_number[at : at + 2]) for at in (2, 4, 6))
    century = 2000 if month > _MONTH_OFFSET else 1900
    try:
        return date(century + year, month - _MONTH_OFFSET if century == 2000 else month, day)
    except ValueError as error:
        raise RefusedError("the six digits after the letters of a register number are no date") from error


def parse_civil_id(text: str) -> str:
    """Return a civil registration number, 12 digits; `RefusedError` for anything else."""
    number = bounded(text).strip()
    if _CIVIL_ID.fullmatch(number) is None:
        raise RefusedError("a civil registration number has 12 digits")
    return number


def parse_organization_number(text: str) -> str:
    """Return the state register's number of an organisation, 7 digits; `RefusedError` for anything else."""
    number = bounded(text).strip()
    if _ORGANIZATION_NUMBER.fullmatch(number) is None:
        raise RefusedError("the state register's number of an organisation has 7 digits")
    return number


def today(now: datetime) -> date:
    """Return the day that it is in Mongolia."""
    return now.astimezone(ULAANBAATAR).date()


def age(birth_date: date, day: date) -> int:
    """Return the whole years of a life on a day; one born on 29 February ends them on 1 March."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))


def midnight(day: date) -> datetime:
    """Return when a day of Mongolia begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=ULAANBAATAR).astimezone(UTC)
