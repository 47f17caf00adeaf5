"""From the table of operations to routes: each request goes through the same numbered steps."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from pkiserver.errors import DeniedError, NotAuthorizedError, PKIServerError
from pkiserver.ra.api_access import APIAccess, Caller
from pkiserver.ra.on_behalf import HEADER
from pkiserver.ra.registration.form import FormError
from pkiserver.web.api.conditions import is_unchanged, seen_version
from pkiserver.web.api.idempotency import IdempotentRequests, given, parse_key, request_hash
from pkiserver.web.api.operations import APIServices, Call, Operation, Stranger
from pkiserver.web.api.problems import InvalidRequestError, WrongField
from pkiserver.web.api.rate_limit import RateLimiter
from pkiserver.web.est_messages import client_certificate_of
from pkiserver.web.middleware import CLIENT, NO_PROXIES
from pkiserver.web.proxies import TrustedProxies
from protocols.errors import ErrorKind, MalformedError, ProtocolError
from store.api_requests import Answer as KeptAnswer

_HEADERS: Final = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_QUIET: Final = (ErrorKind.TOO_MANY_REQUESTS, ErrorKind.UNAVAILABLE)  # to record these would be the flood

Model = TypeVar("Model", bound=BaseModel)


class UnsupportedMediaTypeError(ProtocolError):
    """The body is of another type than the operation takes."""

    kind = ErrorKind.UNSUPPORTED_MEDIA_TYPE


class API:
    """Answers requests to the operations of a table."""

    def __init__(
        self,
        services: APIServices,
        access: APIAccess,
        limiter: RateLimiter,
        idempotent: IdempotentRequests,
        proxies: TrustedProxies = NO_PROXIES,
    ) -> None:
        self._services = services
        self._access = access
        self._limiter = limiter
        self._idempotent = idempotent
        self._proxies = proxies

    def routes(self, operations: Sequence[Operation]) -> list[web.RouteDef]:
        """Return a route for each operation."""
        return [
            web.RouteDef(
                one.method,
                one.address,
                partial(self._answer_stranger if one.public else self._answer, one),
                {"name": f"api.{one.operation_id}"},
            )
            for one in operations
        ]

    async def _answer_stranger(self, operation: Operation, request: web.Request) -> web.Response:
        """Answer whoever asks. Refusals are logged and not audited: strangers would fill the disk."""
        body = await _body(operation, request)
        try:
            answer = given(await operation.handle(self._services, Stranger(request[CLIENT], body)))
        except FormError as error:
            raise InvalidRequestError.of_form(error) from error
        return web.Response(status=answer.status, body=answer.body, headers=_HEADERS)

    async def _answer(self, operation: Operation, request: web.Request) -> web.Response:
        # 1. Who asks, and may they ask now?
        async with self._audited(operation, request, None):
            caller = await self._access.identify(client_certificate_of(request, self._proxies))
        self._limiter.take(caller.name, self._services.clock.now())
        async with self._audited(operation, request, caller):
            # 2. May they ask this?
            caller.require_anywhere(operation.action)
            caller = await self._access.on_behalf(caller, operation.operation_id, _header(request, HEADER))
            # 3. What do they ask?
            call = await _call(operation, request, caller)
            # 4. Once, where they say so.
            answer = await self._carried_out(operation, request, call)
        if (
            not operation.changes
            and answer.etag
            and is_unchanged(_header(request, "If-None-Match"), answer.etag)
        ):
            return web.Response(status=304, headers={"ETag": answer.etag})
        tagged = {"ETag": answer.etag} if answer.etag else {}
        media = {"Content-Type": operation.produces}
        return web.Response(status=answer.status, body=answer.body, headers=_HEADERS | media | tagged)

    async def _carried_out(
        self, operation: Operation, request: web.Request, call: Call[Any, Any, Any]
    ) -> KeptAnswer:
        key = _header(request, "Idempotency-Key") if operation.changes else None
        given = None if key is None else parse_key(key)
        if given is None or operation.repeatable:
            return await self._work(operation, request, replace(call, key=given))
        identified = call.caller.acting.identified  # whoever else it is about, it is another request
        about = "" if identified is None else identified.civil_id
        asked = request_hash(request.method, request.raw_path, await request.read(), about)
        work = partial(self._work, operation, request, call)
        return await self._idempotent.once(call.caller.name, given, asked, work)

    async def _work(
        self, operation: Operation, request: web.Request, call: Call[Any, Any, Any]
    ) -> KeptAnswer:
        if operation.versioned:
            call = replace(call, seen=seen_version(_header(request, "If-Match")))
        try:
            return given(await operation.handle(self._services, call))
        except FormError as error:
            raise InvalidRequestError.of_form(error) from error

    @asynccontextmanager
    async def _audited(
        self, operation: Operation, request: web.Request, caller: Caller | None
    ) -> AsyncIterator[None]:
        """Have refusals audited: every one of a change, and of reading what the caller may not."""
        try:
            yield
        except DeniedError:
            raise  # the service has recorded it
        except (PKIServerError, ProtocolError) as error:
            if (operation.changes or isinstance(error, NotAuthorizedError)) and error.kind not in _QUIET:
                await self._access.refused(operation.operation_id, request[CLIENT], str(error), caller)
            raise


async def _call(operation: Operation, request: web.Request, caller: Caller) -> Call[Any, Any, Any]:
    path = _checked("path", operation.parameters, request.match_info)
    query = _checked("query", operation.query, _once(request))
    return Call(caller, path, query, await _body(operation, request), "")


def _once(request: web.Request) -> Mapping[str, str]:
    """Return the values of the query; `InvalidRequestError` for a name that stands there twice."""
    twice = [name for name in set(request.query) if len(request.query.getall(name)) > 1]
    if twice:
        raise InvalidRequestError(WrongField("query", name[:100], "duplicate") for name in sorted(twice))
    return dict(request.query)


def _checked(place: Any, model: type[Model], values: Mapping[str, str]) -> Model:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidRequestError.of(place, error) from error


async def _body(operation: Operation, request: web.Request) -> BaseModel | bytes | None:
    body = await request.read()
    if not operation.takes_body:
        if body:
            raise MalformedError("this operation takes no body")
        return None
    if request.content_type not in operation.media_types:
        raise UnsupportedMediaTypeError(f"send {operation.media_types[0]}")
    if operation.body is None:
        return body
    try:
        return operation.body.model_validate_json(body)
    except ValidationError as error:
        if any(one["type"] == "json_invalid" for one in error.errors(include_input=False)):
            raise MalformedError("the body is no JSON") from error
        raise InvalidRequestError.of("body", error) from error


def _header(request: web.Request, name: str) -> str | None:
    """Return the value of a header; `MalformedError` where it stands there twice."""
    values = request.headers.getall(name, [])
    if len(values) > 1:
        raise MalformedError(f"{name} stands there twice")
    return values[0] if values else None
