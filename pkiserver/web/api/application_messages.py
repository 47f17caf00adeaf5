"""What the API takes and shows of applications: the form IUB-41, searches, events."""

from datetime import date, datetime
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from pkiserver.ca.identity import MAX_LIMIT_MNT
from pkiserver.ra.registration.form import FIELD_NUMBERS
from pkiserver.ra.registration.registry import MAX_REASON_CHARACTERS
from pkiserver.web.api.offices import OfficeCode
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Limit,
    Message,
    Moment,
    Number,
    NumberCursor,
    Parameters,
)
from pkiserver.web.api.people import Ground, NamePrefix, PersonName, Place

StateName = Literal[
    "draft",
    "verified",
    "returned",
    "issuing",
    "issued",
    "failed",
    "signed_off",
    "delivered",
    "closed",
    "withdrawn",
]
FieldName = Annotated[str, Field(json_schema_extra={"enum": list(FIELD_NUMBERS)}, max_length=40)]
_FORM: Final[JsonDict] = {
    "aimag": "Улаанбаатар",
    "district": "Сүхбаатар",
    "register_number": "УБ05231418",
    "civil_id": "123456789012",
    "birth_date": "2005-03-14",
    "parent_name": "Бат",
    "given_name": "Дорж",
    "address": "1-р хороо 5-12",
    "phone": "99112233",
    "mail": "dorj@example.mn",
    "use_restricted": False,
    "value_limited": True,
    "limit_mnt": 5_000_000,
}


class ApplicationPath(Parameters):
    """An application by number."""

    application: Number


class ApplicationSearch(Parameters):
    """What to look for; all of it has to hold. Without an office: of every one that the caller may see."""

    state: StateName | None = None
    office: OfficeCode | None = None
    person: Annotated[int, Field(ge=1, lt=1 << 63, description="Of a person on record.")] | None = None
    created_from: Annotated[Moment, Field(description="Made at this moment or later.")] | None = None
    created_until: Annotated[Moment, Field(description="Made before this moment.")] | None = None
    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class NameSearch(Message):
    """Of whom applications are looked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "дорж"}]})

    name: NamePrefix


class FormIUB41(Message):
    """The form IUB-41 (regulation, annex 2); every fault of it is named at once."""

    aimag: Place
    district: Place
    register_number: Place
    civil_id: Place
    birth_date: date
    parent_name: PersonName
    clan_name: PersonName | None = None
    given_name: PersonName
    address: Place
    phone: Place
    mail: Place
    use_restricted: bool
    value_limited: bool
    limit_mnt: Annotated[int, Field(ge=1, le=MAX_LIMIT_MNT)] | None = None


class ApplicationDraft(Message):
    """What is entered at an office; the printing plant makes nothing but identity cards."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"office": "ub-1", "channel": "branch", "carrier": "id_card", "form": _FORM}]
        }
    )

    office: OfficeCode
    channel: Literal["branch", "service_centre", "kiosk", "mission"] = "branch"
    carrier: Literal["id_card", "token", "mobile"] = "id_card"
    profile: Literal["citizen-signature", "citizen-authentication"] = "citizen-signature"
    delivery: Annotated[
        Literal["office", "plant"],
        Field(description="Who makes the carrier: the office, or the printing plant."),
    ] = "office"
    form: FormIUB41


class Proof(Message):
    """How the citizen was identified: the reference of the fingerprint's check, or why there is none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"proof": "fingerprint", "text": "check-1"}]})

    proof: Literal["fingerprint", "register_numbers"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARACTERS)]


class Return(Message):
    """Why an application goes back to who applied, and which fields are wrong (regulation 2.10)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ground": "the phone is another's", "fields": ["phone"]}]}
    )

    ground: Ground
    fields: Annotated[tuple[FieldName, ...], Field(max_length=len(FIELD_NUMBERS), strict=False)] = ()


class GroundBody(Message):
    """Why."""

    model_config = ConfigDict(title="Ground", json_schema_extra={"examples": [{"ground": "stamp 12"}]})

    ground: Ground


class IssuingStart(Message):
    """By which protocol the carrier is enrolled."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"use": "est"}]})

    use: Literal["est", "cmp"] = "est"


class ApplicationSummary(Message):
    """An application without personal data; `ca` and `serial` are of its certificate."""

    application: int
    office: str | None  # null: of an organisation for an officer, or signed by the holder
    person: int | None
    channel: str
    carrier: str
    profile: str
    delivery: str
    state: StateName
    version: int
    proof: str | None
    ca: str | None
    serial: str | None
    created_at: datetime
    created_by: str
    updated_at: datetime


class ApplicationList(Message):
    """A page of applications, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[ApplicationSummary, ...]
    next: str | None


class ApplicationEvent(Message):
    """What happened to an application; `detail` is a JSON text without personal data."""

    version: int
    event: str
    to: str
    actor: str
    ground: str
    at: datetime
    detail: str


class ShownForm(Message):
    """The form as it was entered."""

    aimag: str
    district: str
    register_number: str
    civil_id: str
    birth_date: str
    parent_name: str
    clan_name: str | None
    given_name: str
    address: str
    phone: str
    mail: str
    use_restricted: bool
    value_limited: bool
    limit_mnt: int | None


class ShownOfficerForm(Message):
    """What an organisation says of its officer."""

    parent_name: str
    clan_name: str | None
    given_name: str
    register_number: str
    civil_id: str
    birth_date: str
    work_mail: str
    work_phone: str
    position: str
    unit: str | None


class Application(ApplicationSummary):
    """An application; the form, of a citizen or of an officer, is null once it is erased."""

    form: ShownForm | ShownOfficerForm | None
    events: tuple[ApplicationEvent, ...]


class EnrolmentCredential(Message):
    """By what the carrier enrols, once, until it expires. It is shown in this answer and never again."""

    application: int
    version: int
    reference: str
    secret: str
    expires_at: datetime
