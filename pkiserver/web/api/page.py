"""The page to read the API on: made of the same table, without script or any outside resource."""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from pkiserver.web.api.openapi import openapi
from pkiserver.web.api.operations import Operation
from pkiserver.web.api.words import WORDS
from pkiserver.web.wire import WIRE

_STYLE: Final = (
    "body{font:1rem/1.5 sans-serif;color:#1a1a1a;background:#fff;max-width:60rem;margin:0 auto;"
    "padding:1.5rem 1rem}h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}"
    "h3{font-size:1rem;font-family:monospace;margin-bottom:.25rem;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid #ccc;vertical-align:top}"
    "code,td:first-child{font-family:monospace}pre{background:#f3f6f9;padding:.75rem;overflow-x:auto}"
    "a:focus,summary:focus{outline:3px solid #d97706;outline-offset:2px}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def render_page(operations: Sequence[Operation]) -> str:
    """Return the page of a table of operations."""
    document = openapi(operations)
    described = "".join(
        _operation(method, path, one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    )
    schemas = "".join(_schema(name, one) for name, one in document["components"]["schemas"].items())
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>API</title><style>{_STYLE}</style></head><body><h1>API</h1>"
        "<p>Connect with a client certificate that is registered for an actor. The same in a form for"
        ' programs: <a href="/api/openapi.json">OpenAPI 3.1</a>.</p>'
        f"<h2>Operations</h2>{described}<h2>Bodies</h2>{schemas}<h2>Problems</h2>{_problems()}</body></html>"
    )


def _operation(method: str, path: str, one: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(parameter['name'])}</td><td>{escape(parameter['in'])}"
        f"{', required' if parameter['required'] else ''}</td>"
        f"<td>{escape(parameter.get('description', ''))} {_allowed(parameter['schema'])}</td></tr>"
        for parameter in one["parameters"]
    )
    return (
        f'<h3 id="{escape(one["operationId"])}">{method.upper()} {escape(path)}</h3>'
        f"<p>{escape(one['description'])} {_bodies(one)}</p>"
        "<table><thead><tr><th>Parameter</th><th>Where</th><th>What</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "One of: " + ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    said = [
        f"<code>{escape(name)}: {escape(str(schema[name]))}</code>"
        for name in ("format", "pattern", "minimum", "maximum", "default")
        if schema.get(name) is not None
    ]
    return " ".join(said)


def _bodies(one: dict[str, Any]) -> str:
    taken = f"Takes {_body(one['requestBody']['content'])}. " if "requestBody" in one else ""
    return f"{taken}Answers {_body(one['responses']['200']['content'])}."


def _body(content: dict[str, Any]) -> str:
    """Return a link to the schema of a body, or its media type where it has none."""
    media_type, described = next(iter(content.items()))
    if "$ref" not in described["schema"]:
        return escape(media_type)
    name = escape(str(described["schema"]["$ref"]).rpartition("/")[2])
    return f'<a href="#schema-{name}">{name}</a>'


def _schema(name: str, schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(field)}</td><td>{escape(_type(one))}</td></tr>"
        for field, one in schema.get("properties", {}).items()
    )
    return (
        f'<h3 id="schema-{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
        f"<table><thead><tr><th>Field</th><th>Type</th></tr></thead><tbody>{rows}</tbody></table>"
        f"{_examples(schema)}"
    )


def _examples(schema: dict[str, Any]) -> str:
    return "".join(
        f"<pre>{escape(json.dumps(one, ensure_ascii=False, indent=1))}</pre>"
        for one in schema.get("examples", [])
    )


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("format") or schema.get("const") or schema.get("type", "any"))


def _problems() -> str:
    rows = "".join(
        f'<tr id="{kind.value}"><td>{kind.value}</td><td>{int(WIRE[kind].http)}</td>'
        f"<td>{escape(' '.join(f'{part}.' if not part.endswith('.') else part for part in words.en))}<br>"
        f'<span lang="mn">{escape(". ".join(words.mn))}</span></td></tr>'
        for kind, words in WORDS.items()
    )
    return (
        "<p>Refusals are <code>application/problem+json</code> (RFC 9457), in English or Mongolian by"
        " Accept-Language; <code>reason</code> is exact, in English.</p>"
        "<table><thead><tr><th>Kind</th><th>Status</th><th>What it means</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
