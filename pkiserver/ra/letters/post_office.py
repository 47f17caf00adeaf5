"""The postman of a home, with the ways that its configuration names."""

from pathlib import Path

from config.schema_letters import Letters
from config.schema_webhooks import Webhooks
from pkiserver.clock import Clock
from pkiserver.home import Home
from pkiserver.ra.letters.media import FileSink, Way
from pkiserver.ra.letters.outbox import Medium, Outbox
from pkiserver.ra.letters.postman import Postman
from pkiserver.ra.letters.sms_gateway import SMSGateway, SMSWay
from pkiserver.ra.letters.smtp import SMTPServer, SMTPWay
from pkiserver.ra.letters.templates import Templates
from pkiserver.ra.letters.webhook import WebhookWay
from pkiserver.ra.sealed_secrets import SealedSecrets
from pkiserver.storage import Storage


def open_post_office(
    *,
    storage: Storage,
    clock: Clock,
    home: Home,
    outbox: Outbox,
    settings: Letters,
    webhooks: Webhooks,
) -> Postman:
    """Return the postman; nothing is connected yet."""
    return Postman(
        storage=storage,
        clock=clock,
        outbox=outbox,
        templates=Templates(home.letter_templates),
        ways={
            Medium.MAIL: _mail(home, settings),
            Medium.SMS: _sms(home, settings),
            Medium.WEBHOOK: WebhookWay(
                storage, clock, SealedSecrets(home.credential_key), webhooks, home.path
            ),
        },
        patience=settings.patience,
    )


def _mail(home: Home, settings: Letters) -> Way:
    if not settings.mail_server:
        return FileSink(home.letters)
    server = SMTPServer(
        host=settings.mail_server,
        port=settings.mail_port,
        sender=settings.mail_from,
        security=settings.mail_security,
        ca_file=_within(home, settings.mail_ca_file),
        user=settings.mail_user,
        password_file=_within(home, settings.mail_password_file),
        connections=settings.connections,
        timeout=settings.timeout,
    )
    return SMTPWay(server)


def _sms(home: Home, settings: Letters) -> Way:
    if not settings.sms_url:
        return FileSink(home.letters)
    gateway = SMSGateway(
        url=settings.sms_url,
        ca_file=_within(home, settings.sms_ca_file),
        token_file=_within(home, settings.sms_token_file),
        connections=settings.connections,
        timeout=settings.timeout,
    )
    return SMSWay(gateway)


def _within(home: Home, path: Path | None) -> Path | None:
    """Return a configured path, relative ones in the home."""
    return home.path / path if path is not None else None
