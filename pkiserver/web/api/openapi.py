"""The OpenAPI 3.1 document, generated from the table of operations and the models of its bodies."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pkiserver.ra.on_behalf import HEADER, MAX_CHARACTERS
from pkiserver.ra.registration.permission_table import PERMISSIONS
from pkiserver.ra.registration.roles import Role
from pkiserver.web.api.operations import Operation
from pkiserver.web.api.problems import CONTENT_TYPE, Problem

VERSION: Final = "1.0.0"
_REFERENCE: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"
_ETAG: Final = {"description": "The version of what is shown.", "schema": {"type": "string"}}
_RETRY: Final = {"description": "Seconds until it may be tried again.", "schema": {"type": "integer"}}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same request with the same key is carried out once, and answered alike for a day.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
}
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of what you saw.",
    "schema": {"type": "string", "pattern": '^"[!#-~]{1,64}"$'},
}
_ON_BEHALF_OF: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Of a service: the holder whom it identified, by what, and under which reference.",
    "schema": {"type": "string", "maxLength": MAX_CHARACTERS},
    "example": 'civil-id="123456789012", by=fingerprint, reference="check-1"',
}
_ALWAYS: Final = (400, 403, 404, 422, 429, 431, 500, 503)
_WITH_BODY: Final = (408, 413, 415)
_WITH_CHANGE: Final = (409,)
_WITH_VERSION: Final = (412, 428)


def openapi_json(operations: Sequence[Operation]) -> bytes:
    """Return the document as it is served."""
    return json.dumps(openapi(operations), ensure_ascii=False, indent=1).encode()


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document of a table of operations."""
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.address, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pkiserver",
            "version": VERSION,
            "description": "Registration, certificates, enrolments and actors.",
        },
        "servers": [{"url": "/"}],
        "security": [{"client_certificate": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {
                "client_certificate": {
                    "type": "mutualTLS",
                    "description": "A certificate that is registered with `pkiserver actor add`.",
                }
            },
        },
    }


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    bodies: list[type[BaseModel]] = [one.body for one in operations if one.body is not None]
    answers: list[type[BaseModel]] = [Problem, *(one.answer for one in operations if one.produces == _JSON)]
    _, definitions = models_json_schema(
        [
            *((model, "validation") for model in dict.fromkeys(bodies)),
            *((model, "serialization") for model in dict.fromkeys(answers)),
        ],
        ref_template=_REFERENCE,
    )
    found: dict[str, Any] = definitions["$defs"]
    return found


def _operation(one: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.operation_id,
        "summary": one.summary,
        "description": f"{one.handle.__doc__ or one.summary} {_roles(one)}",
        "tags": [one.path.split("/")[1]],
        "parameters": [
            *_parameters("path", one.parameters),
            *_parameters("query", one.query),
            *([_IF_MATCH] if one.versioned else []),
            *([_KEY] if one.changes and not one.public else []),
            *([_ON_BEHALF_OF] if (Role.SERVICE, one.action) in PERMISSIONS and not one.public else []),
        ],
        "responses": _responses(one),
    }
    if one.public:
        described["security"] = []
    if one.takes_body:
        named = {"$ref": _REFERENCE.format(model=one.body.__name__)} if one.body else {"type": "string"}
        described["requestBody"] = {
            "required": True,
            "content": {media_type: {"schema": named} for media_type in one.media_types},
        }
    return described


def _roles(one: Operation) -> str:
    if one.public:
        return "For everybody, without a client certificate; each address has a share."
    names = sorted(role.value for role, action in PERMISSIONS if action is one.action)
    return f"Roles: {', '.join(names)}."


def _parameters(place: str, model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(mode="validation")
    required = schema.get("required", [])
    return [
        {"name": name, "in": place, "required": name in required, **_described(one)}
        for name, one in schema["properties"].items()
    ]


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema without null, which no text is, and its description beside it."""
    alternatives = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    inner = {name: value for name, value in alternatives[0].items() if name not in ("title", "description")}
    description = alternatives[0].get("description") or schema.get("description")
    return {"schema": inner} | ({"description": description} if description else {})


def _responses(one: Operation) -> dict[str, Any]:
    statuses = [
        *_ALWAYS,
        *(_WITH_BODY if one.takes_body else (408, 413)),
        *(_WITH_CHANGE if one.changes else ()),
        *(_WITH_VERSION if one.versioned else ()),
    ]
    schema = {"$ref": _REFERENCE.format(model=one.answer.__name__)}
    content = {one.produces: {"schema": schema if one.produces == _JSON else {"type": "string"}}}
    done: dict[str, Any] = {"description": "Done.", "content": content}
    if _has_versions(one):
        done["headers"] = {"ETag": _ETAG}
    responses = {"200": done}
    if _has_versions(one) and not one.changes:
        responses["304"] = {"description": "Not changed since the ETag of If-None-Match."}
    return responses | {str(status): _refused(status) for status in sorted(set(statuses))}


def _has_versions(one: Operation) -> bool:
    return one.versioned or one.shows_version


def _refused(status: int) -> dict[str, Any]:
    refused: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(model=Problem.__name__)}}},
    }
    if status in (429, 503):
        refused["headers"] = {"Retry-After": _RETRY}
    return refused
