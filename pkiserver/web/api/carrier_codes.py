"""Codes of carriers: handed over by who personalised one, and the release of a blocked token's.

No answer with a code is kept, and no hash of a request that had one: an Idempotency-Key is not needed, since
each of these is done once by itself.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.ra.carrier_codes import Codes
from pkiserver.ra.registration.kept_codes import MAX_CHARACTERS, MIN_CHARACTERS, PATTERN
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.application_messages import ApplicationPath
from pkiserver.web.api.operations import Answer, APIServices, Call, Message, Operation
from pkiserver.web.api.tokens import TokenPath

Code = Annotated[
    str,
    Field(
        min_length=MIN_CHARACTERS,
        max_length=MAX_CHARACTERS,
        pattern=PATTERN,
        description="Printable ASCII without blanks.",
    ),
]


class UnblockCode(Message):
    """The code (PUK, SO PIN) by which a token gets a new user PIN."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "48151623"}]})

    code: Annotated[Code, Field(repr=False)]


class KeptUnblockCode(Message):
    """That a code is kept; `number` counts the codes of the token. It is never shown here."""

    token: str
    number: int
    state: Literal["kept", "used"]
    changed_at: datetime


class UnblockChallenge(Message):
    """A challenge is on its way to the holder's mail."""

    token: str
    expires_at: datetime
    attempts: int


class UnblockAnswer(Message):
    """What the letter says; capitals, hyphens and blanks do not matter."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"challenge": "ABCD-EFGH-JKLM"}]})

    challenge: Annotated[str, Field(min_length=12, max_length=20, pattern="^[A-Za-z2-7 -]+$", repr=False)]


class ReleasedCode(Message):
    """The code, which nobody is told again; the token gets another one from the personalising station."""

    token: str
    code: Annotated[str, Field(repr=False)]


class CarrierCodes(Message):
    """PIN and PUK of a carrier; an organisation's token has no PUK here, but its unblock code kept."""

    model_config = ConfigDict(
        title="CarrierCodes", json_schema_extra={"examples": [{"pin": "271828", "puk": "31415926"}]}
    )

    pin: Annotated[Code, Field(repr=False)]
    puk: Annotated[Code | None, Field(repr=False)] = None


class CarrierCodesTaken(Message):
    """The letters that the codes go by."""

    application: int
    sms: int
    mail: int


async def keep_unblock_code(services: APIServices, call: Call[TokenPath, Any, UnblockCode]) -> Answer:
    """Take over the unblock code that a token was given; it replaces one that was released."""
    path = call.path
    kept = await services.registration.unblocking.take_over(
        call.caller.acting, path.organization, path.token, call.body.code
    )
    state: Literal["kept", "used"] = "kept" if kept.state == "kept" else "used"
    token = path.token.upper()
    return Answer(KeptUnblockCode(token=token, number=kept.number, state=state, changed_at=kept.changed_at))


async def ask_unblock(services: APIServices, call: Call[TokenPath, Any, None]) -> Answer:
    """Send a challenge to the mail on record of who has the token."""
    path = call.path
    asked = await services.registration.unblocking.ask(call.caller.acting, path.organization, path.token)
    token = path.token.upper()
    return Answer(UnblockChallenge(token=token, expires_at=asked.expires_at, attempts=asked.attempts))


async def release_unblock_code(services: APIServices, call: Call[TokenPath, Any, UnblockAnswer]) -> Answer:
    """Release the unblock code of a token to who has the challenge, once."""
    path = call.path
    released = await services.registration.unblocking.release(
        call.caller.acting, path.organization, path.token, call.body.challenge
    )
    return Answer(ReleasedCode(token=path.token.upper(), code=released.code))


async def hand_over_codes(services: APIServices, call: Call[ApplicationPath, Any, CarrierCodes]) -> Answer:
    """Have the PIN sent by SMS, and PUK and guidance by mail; a carrier once."""
    number = call.path.application
    taken = await services.registration.carrier_codes.hand_over(
        call.caller.acting, number, Codes(call.body.pin, call.body.puk)
    )
    return Answer(CarrierCodesTaken(application=number, sms=taken.sms, mail=taken.mail))


_PATH: Final = "/organizations/{organization}/tokens/{token}"
OPERATIONS: Final = (
    Operation(
        "keepUnblockCode",
        "POST",
        f"{_PATH}/unblock-code",
        "Take over the unblock code of a token",
        Action.HAND_OVER_CODES,
        keep_unblock_code,
        KeptUnblockCode,
        parameters=TokenPath,
        body=UnblockCode,
        repeatable=True,
    ),
    Operation(
        "askUnblock",
        "POST",
        f"{_PATH}/unblock",
        "Send a challenge to the holder of a blocked token",
        Action.UNBLOCK_CARRIER,
        ask_unblock,
        UnblockChallenge,
        parameters=TokenPath,
    ),
    Operation(
        "releaseUnblockCode",
        "POST",
        f"{_PATH}/unblock/release",
        "Release the unblock code of a token, once",
        Action.UNBLOCK_CARRIER,
        release_unblock_code,
        ReleasedCode,
        parameters=TokenPath,
        body=UnblockAnswer,
        repeatable=True,
    ),
    Operation(
        "handOverCodes",
        "POST",
        "/applications/{application}/codes",
        "Have PIN and PUK of a carrier sent to its holder",
        Action.HAND_OVER_CODES,
        hand_over_codes,
        CarrierCodesTaken,
        parameters=ApplicationPath,
        body=CarrierCodes,
        repeatable=True,
    ),
)
