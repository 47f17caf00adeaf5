"""Applications: made from the form IUB-41, looked at, verified, returned, withdrawn, issued.

What follows the certificate (form confirmed, carrier handed over, archived) is in `application_ends`.
"""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from pkiserver.ca.identity import MAX_LIMIT_MNT
from pkiserver.ra.registration.applications import NewApplication, ShownApplication
from pkiserver.ra.registration.form import FIELD_NUMBERS
from pkiserver.ra.registration.registry import MAX_REASON_CHARACTERS, IdentityProof
from pkiserver.ra.registration.roles import Action
from pkiserver.ra.registration.states import State
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.offices import OfficeCode
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Handler,
    Limit,
    Message,
    Moment,
    Number,
    NumberCursor,
    Operation,
    Parameters,
)
from pkiserver.web.api.people import Ground, NamePrefix, PersonName, Place
from protocols.x509.certificate import serial_text
from store.applications import ApplicationRecord

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


async def list_applications(services: APIServices, call: Call[Any, ApplicationSearch, None]) -> Answer:
    """Search the applications that the caller may see."""
    query = call.query
    found = await services.registration.application_search.newest(
        call.caller.acting,
        state=State(query.state) if query.state is not None else None,
        office=query.office,
        person=query.person,
        created_from=query.created_from,
        created_until=query.created_until,
        before=None if query.after is None else int(query.after),
        limit=query.limit + 1,
    )
    more = str(found[query.limit - 1].id) if len(found) > query.limit else None
    return Answer(ApplicationList(items=await summaries(services, found[: query.limit]), next=more))


async def search_applications(services: APIServices, call: Call[Any, Any, NameSearch]) -> Answer:
    """Find applications by how the name begins, whatever the office (regulation 2.1)."""
    found = await services.registration.application_search.find(call.caller.acting, call.body.name)
    return Answer(ApplicationList(items=await summaries(services, found), next=None))


async def show_application(services: APIServices, call: Call[ApplicationPath, Any, None]) -> Answer:
    """Show an application with its form; that is on record."""
    found = await services.registration.applications.show(call.caller.acting, call.path.application)
    shown = Application(
        **(await summary(services, found.record)).model_dump(),
        form=_shown_form(found),
        events=tuple(
            ApplicationEvent(
                version=one.version,
                event=one.event,
                to=one.to_state,
                actor=one.actor,
                ground=one.ground,
                at=one.at,
                detail=one.detail,
            )
            for one in found.events
        ),
    )
    return Answer(shown, str(found.record.version))


def _shown_form(found: ShownApplication) -> ShownForm | ShownOfficerForm | None:
    if found.form is None:
        return None
    if "work_mail" in found.form:
        return ShownOfficerForm(**found.form)
    return ShownForm(**found.form)


async def create_application(services: APIServices, call: Call[Any, Any, ApplicationDraft]) -> Answer:
    """Make a draft of the form."""
    body = call.body
    new = NewApplication(
        body.office, body.form.model_dump(), body.channel, body.carrier, body.profile, body.delivery
    )
    return await answered(
        ApplicationRecord,
        services.registration.applications.draft(call.caller.acting, new),
        lambda made: Answer(_summary(services, made, body.office), str(made.version)),
    )


async def verify_application(services: APIServices, call: Call[ApplicationPath, Any, Proof]) -> Answer:
    """Hold a draft to the civil registry: it is verified, or returned with the differing fields named."""
    proof = IdentityProof.of(call.body.proof, call.body.text)
    moved = await services.registration.applications.verify(
        call.caller.acting, call.path.application, seen_number(call.seen), proof
    )
    return await moved_answer(services, moved)


async def return_application(services: APIServices, call: Call[ApplicationPath, Any, Return]) -> Answer:
    """Return a draft, or one of which nothing can be issued, with the fields that are wrong."""
    body = call.body
    moved = await services.registration.applications.send_back(
        call.caller.acting, call.path.application, seen_number(call.seen), body.ground, body.fields
    )
    return await moved_answer(services, moved)


async def withdraw_application(services: APIServices, call: Call[ApplicationPath, Any, GroundBody]) -> Answer:
    """Withdraw an application before its certificate is issued."""
    moved = await services.registration.applications.withdraw(
        call.caller.acting, call.path.application, seen_number(call.seen), call.body.ground
    )
    return await moved_answer(services, moved)


async def issue_application(services: APIServices, call: Call[ApplicationPath, Any, IssuingStart]) -> Answer:
    """Start issuing a verified application, or a failed one again: answers the credential that enrols it."""
    seen = seen_number(call.seen)
    made = await services.registration.issuing.begin(
        call.caller.acting, call.path.application, seen, call.body.use
    )
    shown = EnrolmentCredential(
        application=call.path.application,
        version=seen + 1,
        reference=made.reference,
        secret=made.secret,
        expires_at=made.expires_at,
    )
    return Answer(shown, str(seen + 1))


async def moved_answer(services: APIServices, record: ApplicationRecord) -> Answer:
    """Return what is answered of an application that moved on."""
    return Answer(await summary(services, record), str(record.version))


async def summary(services: APIServices, record: ApplicationRecord) -> ApplicationSummary:
    """Return an application as lists have it."""
    return (await summaries(services, [record]))[0]


async def summaries(
    services: APIServices, records: list[ApplicationRecord]
) -> tuple[ApplicationSummary, ...]:
    """Return applications as lists have them."""
    offices = {one.office for one in records if one.office is not None}
    codes = await services.registration.offices.codes(offices)
    return tuple(
        _summary(services, one, codes[one.office] if one.office is not None else None) for one in records
    )


def _summary(services: APIServices, record: ApplicationRecord, office: str | None) -> ApplicationSummary:
    authority, serial = record.authority, record.serial
    return ApplicationSummary(
        application=record.id,
        office=office,
        person=record.person,
        channel=record.channel,
        carrier=record.carrier,
        profile=record.profile,
        delivery=record.delivery,
        state=State(record.state).value,
        version=record.version,
        proof=record.proof,
        ca=None if authority is None else services.authorities.record_with_id(authority).handle,
        serial=None if serial is None else serial_text(serial),
        created_at=record.created_at,
        created_by=record.created_by,
        updated_at=record.updated_at,
    )


def step(
    verb: str,
    summary_text: str,
    action: Action,
    handle: Handler,
    body: type[Message],
    answer: type[Message] = ApplicationSummary,
) -> Operation:
    """Return the row of an operation that moves an application on; `verb` is the end of its path."""
    first, *others = verb.split("-")
    return Operation(
        f"{first}{''.join(one.title() for one in others)}Application",
        "POST",
        f"/applications/{{application}}/{verb}",
        summary_text,
        action,
        handle,
        answer,
        parameters=ApplicationPath,
        body=body,
        versioned=True,
    )


OPERATIONS: Final = (
    Operation(
        "listApplications",
        "GET",
        "/applications",
        "Search applications",
        Action.READ_APPLICATION,
        list_applications,
        ApplicationList,
        query=ApplicationSearch,
    ),
    Operation(
        "searchApplications",
        "POST",
        "/applications/search",
        "Find applications by the beginning of a name",
        Action.READ_PERSON,
        search_applications,
        ApplicationList,
        body=NameSearch,
        reads=True,
    ),
    Operation(
        "showApplication",
        "GET",
        "/applications/{application}",
        "Show an application with its form",
        Action.READ_APPLICATION,
        show_application,
        Application,
        parameters=ApplicationPath,
        shows_version=True,
    ),
    Operation(
        "createApplication",
        "POST",
        "/applications",
        "Make an application from the form IUB-41",
        Action.APPLY,
        create_application,
        ApplicationSummary,
        body=ApplicationDraft,
        shows_version=True,
    ),
    step(
        "verify",
        "Hold an application to the civil registry",
        Action.VERIFY_APPLICATION,
        verify_application,
        Proof,
    ),
    step(
        "return",
        "Return an application to who applied",
        Action.VERIFY_APPLICATION,
        return_application,
        Return,
    ),
    step(
        "withdraw", "Withdraw an application", Action.WITHDRAW_APPLICATION, withdraw_application, GroundBody
    ),
    step(
        "issue",
        "Start issuing a certificate",
        Action.ISSUE_APPLICATION,
        issue_application,
        IssuingStart,
        answer=EnrolmentCredential,
    ),
)
