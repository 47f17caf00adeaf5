"""What is refused, as problem details (RFC 9457): plain words for people, the exact reason for engineers."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from aiohttp import web
from pydantic import ValidationError

from pkiserver.errors import UnprocessableError
from pkiserver.logs import escaped
from pkiserver.ra.registration.form import FormError
from pkiserver.web.api.operations import Message
from pkiserver.web.api.words import WORDS, Language, field_words, form_words, language_of
from pkiserver.web.middleware import REQUEST_ID, Refusal
from protocols.errors import ErrorKind

CONTENT_TYPE: Final = "application/problem+json"
MAX_FIELDS: Final = 20  # named in one answer
MAX_NAME_CHARACTERS: Final = 100  # of a field: the client may have invented it
# What HTTP itself refused; all else is a bad request.
_KINDS: Final = {
    HTTPStatus.NOT_FOUND: ErrorKind.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ErrorKind.TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ErrorKind.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.BAD_REQUEST: ErrorKind.MALFORMED,
}

Place = Literal["path", "query", "body"]


@dataclass(frozen=True, slots=True)
class WrongField:
    """A value that is not allowed; `error_type` is pydantic's, `said` what the form says of its own field."""

    place: Place
    name: str
    error_type: str
    said: str | None = None


class InvalidRequestError(UnprocessableError):
    """Values of a request are not allowed; `fields` names each."""

    def __init__(self, fields: Iterable[WrongField]) -> None:
        super().__init__("values are not allowed")
        self.fields = tuple(fields)[:MAX_FIELDS]

    @classmethod
    def of(cls, place: Place, error: ValidationError) -> "InvalidRequestError":
        """Return what pydantic found; it quotes no value."""
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return cls(
            WrongField(place, ".".join(str(part) for part in one["loc"])[:MAX_NAME_CHARACTERS], one["type"])
            for one in found
        )

    @classmethod
    def of_form(cls, error: FormError) -> "InvalidRequestError":
        """Return what is wrong with a form IUB-41; its faults quote no value."""
        return cls(WrongField("body", f"form.{one.field}", "form", one.message) for one in error.faults)


class FieldProblem(Message):
    """One wrong value."""

    place: Place
    field: str
    problem: str


class Problem(Message):
    """Why a request was refused (RFC 9457 §3). `reason` is exact, in English; `kind` is for programs."""

    type: str
    title: str
    status: int
    detail: str
    kind: str
    reason: str
    request_id: str
    fields: tuple[FieldProblem, ...] = ()


def write_problem(request: web.Request, refusal: Refusal) -> web.Response:
    """Return a refusal as problem details in the language that the client would rather read."""
    language = language_of(",".join(request.headers.getall("Accept-Language", [])))
    problem = _problem(refusal, language, request[REQUEST_ID])
    response = web.Response(
        status=refusal.status,
        body=problem.model_dump_json().encode(),
        headers={
            **refusal.headers,
            "Content-Type": CONTENT_TYPE,
            "Content-Language": language.value,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
    if refusal.close:
        response.force_close()
    return response


def _problem(refusal: Refusal, language: Language, request_id: str) -> Problem:
    kind = refusal.kind or _KINDS.get(HTTPStatus(refusal.status), ErrorKind.BAD_REQUEST)
    title, detail = WORDS[kind].spoken(language)
    error = refusal.error
    wrong = error.fields if isinstance(error, InvalidRequestError) else ()
    return Problem(
        type=problem_type(kind),
        title=title,
        status=refusal.status,
        detail=detail,
        kind=kind.value,
        reason=refusal.reason,
        request_id=request_id,
        fields=tuple(
            FieldProblem(
                place=one.place,
                field=escaped(one.name, MAX_NAME_CHARACTERS),
                problem=_field_problem(one, language),
            )
            for one in wrong
        ),
    )


def _field_problem(wrong: WrongField, language: Language) -> str:
    if wrong.said is None:
        return field_words(wrong.error_type, language)
    if language is Language.ENGLISH:
        return wrong.said
    return form_words(wrong.name.removeprefix("form."))


def problem_type(kind: ErrorKind) -> str:
    """Return the URI of a kind of problem: its paragraph on the page of the API (RFC 9457 §3.1.1)."""
    return f"/api/#{kind.value}"
