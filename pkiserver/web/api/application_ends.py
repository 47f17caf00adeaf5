"""Applications whose certificate is being made, or was: failed, confirmed, handed over, closed."""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, JsonValue

from pkiserver.ra.registration.application_ends import Explanation
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.application_messages import ApplicationPath, EnrolmentCredential, GroundBody
from pkiserver.web.api.applications import moved_answer, step
from pkiserver.web.api.conditions import seen_number
from pkiserver.web.api.operations import Answer, APIServices, Call, Message
from pkiserver.web.api.people import Ground

ExplanationName = Literal["legal_effect", "conditions_of_use", "confidentiality", "liability"]
_ALL: Final[list[JsonValue]] = ["legal_effect", "conditions_of_use", "confidentiality", "liability"]


class Delivery(Message):
    """What the holder acknowledged at the hand-over (regulation 2.7), and which text they read."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"acknowledged": _ALL, "text_version": "2026-1"}]}
    )

    acknowledged: Annotated[
        tuple[ExplanationName, ...], Field(min_length=1, max_length=len(Explanation), strict=False)
    ]
    text_version: Annotated[str, Field(min_length=1, max_length=40)]


class Closing(Message):
    """The archive unit that was handed over (regulation 2.6)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"archive_unit": "2026/17/4"}]})

    archive_unit: Annotated[str, Field(min_length=1, max_length=60)]


class Replacement(Message):
    """Why the carrier did not take its certificate, and by which protocol it is enrolled again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ground": "the chip is broken", "use": "est"}]}
    )

    ground: Ground
    use: Literal["est", "cmp"] = "est"


async def fail_application(services: APIServices, call: Call[ApplicationPath, Any, GroundBody]) -> Answer:
    """Note that nothing was issued; the credential enrols nothing any more, and issuing may start again."""
    moved = await services.registration.issuing.fail(
        call.caller.acting, call.path.application, seen_number(call.seen), call.body.ground
    )
    return await moved_answer(services, moved)


async def replace_certificate(services: APIServices, call: Call[ApplicationPath, Any, Replacement]) -> Answer:
    """Start issuing again where the carrier did not take its certificate, which is revoked by now."""
    seen = seen_number(call.seen)
    made = await services.registration.issuing.carrier_refused(
        call.caller.acting, call.path.application, seen, call.body.ground, call.body.use
    )
    shown = EnrolmentCredential(
        application=call.path.application,
        version=seen + 1,
        reference=made.reference,
        secret=made.secret,
        expires_at=made.expires_at,
    )
    return Answer(shown, str(seen + 1))


async def sign_off(services: APIServices, call: Call[ApplicationPath, Any, GroundBody]) -> Answer:
    """Note that the form was checked by the citizen and confirmed by stamp and signature (regulation 2.6)."""
    moved = await services.registration.application_ends.sign_off(
        call.caller.acting, call.path.application, seen_number(call.seen), call.body.ground
    )
    return await moved_answer(services, moved)


async def deliver(services: APIServices, call: Call[ApplicationPath, Any, Delivery]) -> Answer:
    """Note that the carrier was handed over and all four explanations were acknowledged (regulation 2.7)."""
    moved = await services.registration.application_ends.deliver(
        call.caller.acting,
        call.path.application,
        seen_number(call.seen),
        frozenset(map(Explanation, call.body.acknowledged)),
        call.body.text_version,
    )
    return await moved_answer(services, moved)


async def close(services: APIServices, call: Call[ApplicationPath, Any, Closing]) -> Answer:
    """Note that the archive unit was handed over."""
    moved = await services.registration.application_ends.close(
        call.caller.acting, call.path.application, seen_number(call.seen), call.body.archive_unit
    )
    return await moved_answer(services, moved)


_FINISH: Final = Action.FINISH_APPLICATION
OPERATIONS: Final = (
    step("fail", "Note that nothing was issued", Action.ISSUE_APPLICATION, fail_application, GroundBody),
    step(
        "replace",
        "Issue again what the carrier did not take",
        Action.ISSUE_APPLICATION,
        replace_certificate,
        Replacement,
        EnrolmentCredential,
    ),
    step("sign-off", "Note that the form was confirmed", _FINISH, sign_off, GroundBody),
    step("deliver", "Note that the carrier was handed over", _FINISH, deliver, Delivery),
    step("close", "Note that the archive unit was handed over", _FINISH, close, Closing),
)
