"""Applications: made from the form IUB-41, looked at, verified, returned, withdrawn, issued.

What follows the certificate (form confirmed, carrier handed over, archived) is in `application_ends`.
"""

from typing import Any, Final

from pkiserver.ra.registration.applications import NewApplication, ShownApplication
from pkiserver.ra.registration.registry import IdentityProof
from pkiserver.ra.registration.roles import Action
from pkiserver.ra.registration.states import State
from pkiserver.web.api.application_messages import (
    Application,
    ApplicationDraft,
    ApplicationEvent,
    ApplicationList,
    ApplicationPath,
    ApplicationSearch,
    ApplicationSummary,
    EnrolmentCredential,
    GroundBody,
    IssuingStart,
    NameSearch,
    Proof,
    Return,
    ShownForm,
    ShownOfficerForm,
)
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.operations import (
    Answer,
    APIServices,
    Call,
    Handler,
    Message,
    Operation,
)
from protocols.x509.certificate import serial_text
from store.applications import ApplicationRecord


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
