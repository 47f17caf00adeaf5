"""Webhooks: who is pushed the register's events."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from pkiserver.ra.letters.webhook import MAX_URL_CHARACTERS
from pkiserver.ra.register.feed import CURSOR_PATTERN, cursor_text
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.operations import Answer, APIServices, Call, Message, Number, Operation, Parameters
from store.webhooks import WebhookRecord


class WebhookPath(Parameters):
    """A webhook by its number."""

    webhook: Number


class WebhookRequest(Message):
    """Where events are to be posted: an https URL of a host that the configuration allows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "e-mongolia", "url": "https://api.e-mongolia.mn/certificates"}]
        }
    )

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    url: Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARACTERS)]


class ResendRequest(Message):
    """From where on: behind this cursor; null, from the first event of all."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"after": "1200-3"}]})

    after: Annotated[str, Field(pattern=CURSOR_PATTERN)] | None


class Webhook(Message):
    """A webhook. `written` is the cursor of the last event that is on its way there, or was given up."""

    webhook: int
    name: str
    url: str
    written: str
    added_at: datetime
    added_by: str


class NewWebhook(Webhook):
    """A webhook with its secret, which is shown this once."""

    secret: str


class WebhookList(Message):
    """The webhooks."""

    items: tuple[Webhook, ...]


async def add_webhook(services: APIServices, call: Call[Any, Any, WebhookRequest]) -> Answer:
    """Add a webhook: it is told what happens from now on, signed with the secret that is answered."""
    added = await services.registration.register.webhooks.add(
        call.caller.acting, call.body.name, call.body.url
    )
    return Answer(NewWebhook(**_values(added.record), secret=added.secret))


async def list_webhooks(services: APIServices, call: Call[Any, Any, None]) -> Answer:
    """List the webhooks, without their secrets."""
    found = await services.registration.register.webhooks.every(call.caller.acting)
    return Answer(WebhookList(items=tuple(Webhook(**_values(one)) for one in found)))


async def remove_webhook(services: APIServices, call: Call[WebhookPath, Any, None]) -> Answer:
    """Remove a webhook; what waits for it is given up."""
    removed = await services.registration.register.webhooks.remove(call.caller.acting, call.path.webhook)
    return Answer(Webhook(**_values(removed)))


async def resend_webhook(services: APIServices, call: Call[WebhookPath, Any, ResendRequest]) -> Answer:
    """Send everything behind a cursor once more, such as what was given up."""
    found = await services.registration.register.webhooks.resend(
        call.caller.acting, call.path.webhook, call.body.after
    )
    return Answer(Webhook(**_values(found)))


def _values(record: WebhookRecord) -> dict[str, Any]:
    return {
        "webhook": record.id,
        "name": record.name,
        "url": record.url,
        "written": cursor_text(record.written),
        "added_at": record.added_at,
        "added_by": record.added_by,
    }


OPERATIONS: Final = (
    Operation(
        "addWebhook",
        "POST",
        "/webhooks",
        "Have events of the register pushed",
        Action.MANAGE_WEBHOOKS,
        add_webhook,
        NewWebhook,
        body=WebhookRequest,
    ),
    Operation(
        "listWebhooks",
        "GET",
        "/webhooks",
        "List webhooks",
        Action.READ_WEBHOOK,
        list_webhooks,
        WebhookList,
    ),
    Operation(
        "removeWebhook",
        "POST",
        "/webhooks/{webhook}/remove",
        "Remove a webhook",
        Action.MANAGE_WEBHOOKS,
        remove_webhook,
        Webhook,
        parameters=WebhookPath,
    ),
    Operation(
        "resendWebhook",
        "POST",
        "/webhooks/{webhook}/resend",
        "Send events once more",
        Action.MANAGE_WEBHOOKS,
        resend_webhook,
        Webhook,
        parameters=WebhookPath,
        body=ResendRequest,
    ),
)
