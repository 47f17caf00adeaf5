"""Letters by mail: SMTP (RFC 5321), TLS unless configured otherwise, a few connections that are kept."""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from typing import Final

import aiosmtplib

from pkiserver.errors import RefusedError, UnavailableError
from pkiserver.ra.letters.media import Message, Outcome
from pkiserver.ra.registration.contacts import parse_mail

_FINAL_CLASS: Final = 5  # of reply codes, RFC 5321 §4.2.1: not to be repeated


@dataclass(frozen=True, slots=True)
class SMTPServer:
    """Where mail is handed over, and as whom. `security` is `tls`, `starttls` or `none`."""

    host: str
    port: int
    sender: str
    security: str
    ca_file: Path | None = None
    user: str = ""
    password_file: Path | None = None
    connections: int = 4
    timeout: timedelta = timedelta(seconds=30)


class SMTPWay:
    """Hands mail over to one server; each connection takes one message after another."""

    def __init__(self, server: SMTPServer) -> None:
        self._server = server
        self._connections: list[aiosmtplib.SMTP | None] = [None] * server.connections

    async def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Return what the server said of each message."""
        outcomes: list[Outcome] = [Outcome.failed("not tried")] * len(messages)
        todo = iter(enumerate(messages))
        workers = min(len(messages), self._server.connections)
        await asyncio.gather(*(self._work(number, todo, outcomes) for number in range(workers)))
        return outcomes

    async def close(self) -> None:
        """Quit the connections."""
        for number in range(len(self._connections)):
            self._drop(number)

    async def _work(self, number: int, todo: Iterator[tuple[int, Message]], outcomes: list[Outcome]) -> None:
        for place, message in todo:
            outcomes[place] = await self._hand_over(number, message)

    async def _hand_over(self, number: int, message: Message) -> Outcome:
        try:
            mail = _mail(message, self._server.sender)
        except (RefusedError, ValueError):  # nothing of the address is told: it is personal data
            return Outcome.failed("the address or the subject is none", is_final=True)
        try:
            connection = self._connections[number] or await self._connected(number)
            await connection.send_message(mail)
        except aiosmtplib.SMTPResponseException as error:
            return self._refused(number, error.code, error.message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            return self._refused(number, refusal.code, refusal.message)
        except (aiosmtplib.SMTPException, OSError, UnavailableError) as error:
            self._drop(number)
            return Outcome.failed(f"{type(error).__name__}: no connection to the mail server")
        return Outcome()

    async def _connected(self, number: int) -> aiosmtplib.SMTP:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=_tls(server.ca_file) if server.security != "none" else None,
            username=server.user or None,
            password=_password(server.password_file) if server.user else None,
            timeout=server.timeout.total_seconds(),
        )
        await client.connect()
        self._connections[number] = client
        return client

    def _refused(self, number: int, code: int, text: str) -> Outcome:
        """The server's words may name the address: only the codes are kept."""
        self._drop(number)
        enhanced = text.split(" ", 1)[0] if text[:2] in ("4.", "5.") else ""
        return Outcome.failed(
            f"the mail server said {code} {enhanced}".rstrip(), is_final=code // 100 == _FINAL_CLASS
        )

    def _drop(self, number: int) -> None:
        client, self._connections[number] = self._connections[number], None
        if client is not None:
            client.close()


def _mail(message: Message, sender: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["To"] = Address(addr_spec=parse_mail(message.to))
    mail["Subject"] = message.subject
    # The same at every attempt: who gets it twice can tell (RFC 5322 §3.6.4).
    mail["Message-ID"] = f"<letter-{message.letter}@{sender.rpartition('@')[2].rstrip('>')}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5
    mail.set_content(message.text, charset="utf-8", cte="base64")
    return mail


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise UnavailableError("the authorities of the mail server cannot be read") from error


def _password(path: Path | None) -> str:
    try:
        return path.read_text().strip() if path is not None else ""
    except OSError as error:
        raise UnavailableError("the password of the mail server cannot be read") from error
