"""What an organisation enters of an officer for whom it applies, and what makes each field valid.

Names and numbers are held to the civil registry as a citizen's are; the rest the organisation answers for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from pkiserver.errors import RefusedError
from pkiserver.ra.registration.contacts import (
    MAX_NAME_CHARACTERS,
    parse_line,
    parse_mail,
    parse_name,
    parse_phone,
)
from pkiserver.ra.registration.form import Fault, Form, FormError, age_faults
from pkiserver.ra.registration.numbers import birth_date_of, parse_civil_id, parse_register_number
from pkiserver.ra.registration.registry import RegistryEntry

PROFILE: Final = "government-token"  # of what officers are certified by
MAX_POSITION_CHARACTERS: Final = 64  # ub-title, ub-organizational-unit-name (RFC 5280 App. A.1)
OPTIONAL: Final = frozenset({"unit"})


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class OfficerForm:
    """A row of a list that is valid in itself. `clan_name` is the civil registry's, once it was asked."""

    parent_name: str
    given_name: str
    register_number: str
    civil_id: str
    birth_date: date
    work_mail: str
    work_phone: str
    position: str
    unit: str | None
    clan_name: str | None = None


AnyForm = Form | OfficerForm


def _position(text: str) -> str:
    return parse_line(text, MAX_POSITION_CHARACTERS)


FIELDS: Final[Mapping[str, Callable[[str], str]]] = {
    "parent_name": parse_name,
    "given_name": parse_name,
    "register_number": parse_register_number,
    "civil_id": parse_civil_id,
    "work_mail": parse_mail,
    "work_phone": parse_phone,
    "position": _position,
    "unit": _position,
}


def validate_officer(fields: Mapping[str, str], day: date) -> OfficerForm:
    """Return the form that the fields make on a day; `FormError` names every fault. "" is a missing value."""
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for name, parse in FIELDS.items():
        values[name] = _parsed(name, fields.get(name, ""), parse, faults)
    number, parent, given = (values[one] for one in ("register_number", "parent_name", "given_name"))
    values["birth_date"] = birth_date_of(number) if number else None
    faults += age_faults(values["birth_date"], day, "register_number")
    if parent and given and len(parent) + len(given) + 1 > MAX_NAME_CHARACTERS:
        faults.append(Fault("given_name", f"with the parent's name it is over {MAX_NAME_CHARACTERS} long"))
    if faults:
        raise FormError(tuple(faults))
    return OfficerForm(**values)


def _parsed(name: str, text: str, parse: Callable[[str], str], faults: list[Fault]) -> str | None:
    if not text.strip():
        if name not in OPTIONAL:
            faults.append(Fault(name, "it is missing"))
        return None
    try:
        return parse(text)
    except RefusedError as error:
        faults.append(Fault(name, str(error)))
        return None


def confirmed(form: AnyForm, entry: RegistryEntry | None) -> AnyForm:
    """Return a form with what the civil registry adds to it: lists name no clan."""
    if entry is None or isinstance(form, Form):
        return form
    return replace(form, clan_name=entry.clan_name)
