"""Commands on webhooks; who gives one at this machine is an administrator."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.ra.register.feed import cursor_text
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store.webhooks import WebhookRecord


def _administrator(caller: Caller) -> Actor:
    return Actor(caller.actor, (Assignment(Role.ADMINISTRATOR),))


def _values(record: WebhookRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "url": record.url,
        "written": cursor_text(record.written),
        "added_at": record.added_at.isoformat(),
        "added_by": record.added_by,
    }


async def add_webhook(services: CommandServices, caller: Caller, /, *, name: str, url: str) -> dict[str, Any]:
    added = await services.registration.register.webhooks.add(_administrator(caller), name, url)
    return _values(added.record) | {"secret": added.secret}


async def list_webhooks(services: CommandServices, caller: Caller, /) -> list[dict[str, Any]]:
    found = await services.registration.register.webhooks.every(_administrator(caller))
    return [_values(one) for one in found]


async def remove_webhook(services: CommandServices, caller: Caller, /, *, webhook: int) -> dict[str, Any]:
    return _values(await services.registration.register.webhooks.remove(_administrator(caller), webhook))


async def resend_webhook(
    services: CommandServices, caller: Caller, /, *, webhook: int, after: str | None
) -> dict[str, Any]:
    webhooks = services.registration.register.webhooks
    return _values(await webhooks.resend(_administrator(caller), webhook, after))


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "webhook.add": CommandEntry(add_webhook),
    "webhook.list": CommandEntry(list_webhooks, reading=True),
    "webhook.remove": CommandEntry(remove_webhook),
    "webhook.resend": CommandEntry(resend_webhook),
}
