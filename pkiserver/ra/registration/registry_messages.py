"""What is asked of a civil registry over HTTPS, and what it answers: JSON, bounded. Sans-IO.

The contract is in `docs/integrators.md`. Nothing that a registry says is believed before it has this form.
"""

import json
from datetime import date
from enum import Enum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pkiserver.ra.registration.registry import RegistryEntry
from protocols.errors import MalformedError

MAX_NAME_CHARACTERS: Final = 200
_Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


class Standing(Enum):
    """What the registry knows of who was asked for."""

    CITIZEN = "citizen"
    DIED = "died"
    NO_CITIZEN = "no_citizen"  # lost or renounced citizenship
    UNKNOWN = "unknown"  # no match: nobody with both numbers, or a check that identified nobody


class _Citizen(BaseModel):
    """The record; further fields are left alone, so that the registry may add some."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    register_number: Annotated[str, Field(min_length=1, max_length=20)]
    civil_id: Annotated[str, Field(min_length=1, max_length=20)]
    birth_date: date
    parent_name: _Name
    clan_name: _Name | None
    given_name: _Name


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    request_id: Annotated[str, Field(max_length=64)]
    standing: Standing
    citizen: _Citizen | None = None


def fingerprint_question(request_id: str, reference: str) -> bytes:
    """Return the body that asks whom a check of fingerprints identified."""
    return _body({"request_id": request_id, "reference": reference})


def numbers_question(request_id: str, register_number: str, civil_id: str) -> bytes:
    """Return the body that asks for the citizen who has both numbers."""
    numbers = {"register_number": register_number, "civil_id": civil_id}
    return _body({"request_id": request_id} | numbers)


def _body(values: dict[str, str]) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()


def parse_answer(answer: bytes, request_id: str) -> RegistryEntry | None:
    """Return whom an answer tells of, None for unknown; `MalformedError` for what is no answer to this.

    The message quotes nothing of it: there are personal data in it.
    """
    try:
        said = _Answer.model_validate_json(answer)
    except (ValidationError, RecursionError) as error:
        raise MalformedError("the civil registry's answer has not the form that was agreed on") from error
    if said.request_id != request_id:
        raise MalformedError("the civil registry's answer is to another question")
    if (said.citizen is None) != (said.standing is Standing.UNKNOWN):
        raise MalformedError("the civil registry's answer contradicts itself")
    if said.citizen is None:
        return None
    return RegistryEntry(**said.citizen.model_dump(), entitled=said.standing is Standing.CITIZEN)
