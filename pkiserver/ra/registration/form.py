"""The form IUB-41 (regulation, annex 2): its fields by their numbers, and what makes each valid.

Date (11), registrar, stamp and signature are of the application; the validity (12) is that of the profile
(regulation 2.9).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Protocol, TypeVar

from pkiserver.ca.identity import MAX_LIMIT_MNT
from pkiserver.errors import RefusedError
from pkiserver.ra.registration.contacts import (
    MAX_NAME_CHARACTERS,
    parse_line,
    parse_mail,
    parse_name,
    parse_phone,
)
from pkiserver.ra.registration.numbers import (
    MAX_AGE,
    MIN_AGE,
    age,
    birth_date_of,
    parse_civil_id,
    parse_register_number,
)

MAX_PLACE_CHARACTERS: Final = 64
MAX_ADDRESS_CHARACTERS: Final = 300

Parsed = TypeVar("Parsed")

# The number of each field on paper. Error lists and the printed form follow it.
FIELD_NUMBERS: Final[Mapping[str, int]] = {
    "aimag": 1,
    "district": 1,
    "register_number": 2,
    "civil_id": 3,
    "birth_date": 4,
    "parent_name": 5,
    "clan_name": 6,
    "given_name": 7,
    "address": 8,
    "phone": 9,
    "mail": 10,
    "use_restricted": 13,
    "value_limited": 14,
    "limit_mnt": 15,
}
_DATE_FORM: Final = "a date is written as 2005-03-14"
OPTIONAL: Final = frozenset({"clan_name", "limit_mnt"})  # not everybody has a clan name


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field; the message never quotes what was entered."""

    field: str
    message: str


class FormError(RefusedError):
    """A form that is not valid: every fault at once, each with its field."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))
        self.faults = faults


class CivilData(Protocol):
    """What the civil registry can be asked about, of whichever form."""

    @property
    def register_number(self) -> str: ...

    @property
    def civil_id(self) -> str: ...

    @property
    def birth_date(self) -> date: ...

    @property
    def parent_name(self) -> str: ...

    @property
    def clan_name(self) -> str | None: ...

    @property
    def given_name(self) -> str: ...


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class Form:
    """A form that is valid in itself; whether it is true the civil registry says."""

    aimag: str
    district: str
    register_number: str
    civil_id: str
    birth_date: date
    parent_name: str
    clan_name: str | None
    given_name: str
    address: str
    phone: str
    mail: str
    use_restricted: bool
    value_limited: bool
    limit_mnt: int | None


def validate_form(fields: Mapping[str, object], day: date) -> Form:
    """Return the form that the fields make on a day; `FormError` names every fault.

    Texts are text, 4 a date or its ISO 8601 text, 13 and 14 are booleans, 15 is a whole number of tugrik.
    """
    reader = _Reader(fields)
    values: dict[str, Any] = {name: reader.read(name, _PARSERS[name]) for name in FIELD_NUMBERS}
    faults = [*reader.faults, *_faults_together(values, day)]
    if faults:
        raise FormError(_in_order(faults))
    return Form(**values)


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    """Return the first fault of each field, in the order of the form; what is no field of it comes last."""
    first: dict[str, Fault] = {}
    for fault in faults:
        first.setdefault(fault.field, fault)
    order = list(FIELD_NUMBERS)
    return tuple(sorted(first.values(), key=lambda one: order.index(one.field) if one.field in order else 99))


class _Reader:
    """Parses fields one by one and gathers what is wrong."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields
        unknown = sorted(str(name)[:40] for name in fields if name not in FIELD_NUMBERS)
        self.faults = [Fault(name, "there is no such field") for name in unknown[: len(FIELD_NUMBERS)]]

    def read(self, name: str, parse: Callable[[Any], Parsed]) -> Parsed | None:
        value = self._fields.get(name)
        if value is None or value == "":
            if name not in OPTIONAL:
                self.faults.append(Fault(name, "it is missing"))
            return None
        try:
            return parse(value)
        except RefusedError as error:
            self.faults.append(Fault(name, str(error)))
            return None


def _text(parse: Callable[[str], Parsed]) -> Callable[[object], Parsed]:
    def checked(value: object) -> Parsed:
        if not isinstance(value, str):
            raise RefusedError("it must be text")
        return parse(value)

    return checked


def _line(most: int) -> Callable[[object], str]:
    return _text(lambda text: parse_line(text, most))


def _date(value: object) -> date:
    if type(value) is date:
        return value
    try:
        if isinstance(value, str) and len(value) == len("2005-03-14"):
            return date.fromisoformat(value)
    except ValueError as error:
        raise RefusedError(_DATE_FORM) from error
    raise RefusedError(_DATE_FORM)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise RefusedError("it is yes or no")
    return value


def _limit(value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_LIMIT_MNT:
        raise RefusedError(f"the limit is a whole number of tugrik, from 1 to {MAX_LIMIT_MNT}")
    return value


_PARSERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "aimag": _line(MAX_PLACE_CHARACTERS),
    "district": _line(MAX_PLACE_CHARACTERS),
    "register_number": _text(parse_register_number),
    "civil_id": _text(parse_civil_id),
    "birth_date": _date,
    "parent_name": _text(parse_name),
    "clan_name": _text(parse_name),
    "given_name": _text(parse_name),
    "address": _line(MAX_ADDRESS_CHARACTERS),
    "phone": _text(parse_phone),
    "mail": _text(parse_mail),
    "use_restricted": _flag,
    "value_limited": _flag,
    "limit_mnt": _limit,
}


def _faults_together(values: Mapping[str, Any], day: date) -> list[Fault]:
    """Return what is wrong between fields that are valid each by itself."""
    faults = age_faults(values["birth_date"], day)
    register_number, born = values["register_number"], values["birth_date"]
    if register_number and born and birth_date_of(register_number) != born:
        faults.append(Fault("birth_date", "it is not the date of birth in the register number"))
    parent, given = values["parent_name"], values["given_name"]
    if parent and given and len(parent) + len(given) + 1 > MAX_NAME_CHARACTERS:
        faults.append(Fault("given_name", f"with the parent's name it is over {MAX_NAME_CHARACTERS} long"))
    if values["value_limited"] is True and values["limit_mnt"] is None:
        faults.append(Fault("limit_mnt", "it is required where the value is limited"))
    if values["value_limited"] is False and values["limit_mnt"] is not None:
        faults.append(Fault("limit_mnt", "it has no place where the value is not limited"))
    return faults


def age_faults(born: date | None, day: date, field: str = "birth_date") -> list[Fault]:
    """Return what is wrong with a date of birth, at the field that says it; None is no fault of its own."""
    if born is None:
        return []
    if born > day or age(born, day) > MAX_AGE:
        return [Fault(field, "it cannot be true")]
    if age(born, day) < MIN_AGE:
        return [Fault(field, f"an applicant is {MIN_AGE} or older (regulation 2.1)")]
    return []
