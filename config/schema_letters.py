"""Letters to holders and organisations: `[letters]` of `pkiserver.toml`."""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, StrictInt, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError, refuse
from config.units import OptionalPath, PositiveDuration

_GATEWAY_RULE: Final = "https:// and a host, or http:// and this machine; no user, no query"
_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def _gateway(value: str) -> str:
    if not value:
        return value
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise refuse("this is no URL", _GATEWAY_RULE) from error
    safe = parts.scheme == "https" or (parts.scheme == "http" and host in _THIS_MACHINE)
    if not safe or not host or parts.username is not None or parts.query or parts.fragment:
        raise refuse("this is not allowed here", _GATEWAY_RULE)
    return value


GatewayURL = Annotated[str, AfterValidator(_gateway)]


class Letters(Section):
    """Letters to holders: by mail and SMS, or into the file letters.jsonl of the home."""

    mail_server: str = option(
        "", description="Host of the mail server, such as mail.example.mn. Empty: mail goes into the file."
    )
    mail_port: StrictInt = option(465, ge=1, le=65535, description="Its port.")
    mail_security: Literal["tls", "starttls", "none"] = option(
        "tls",
        description="tls: from the start (port 465); starttls: required, on the submission port 587; none: "
        "in clear, to this machine alone.",
    )
    mail_ca_file: OptionalPath = option(
        "", description="PEM file of the authorities that its certificate is of. Empty: the system's."
    )
    mail_from: str = option("", description="The address that mail is from.")
    mail_user: str = option("", description="The name to log in with. Empty: without.")
    mail_password_file: OptionalPath = option("", description="File of the password.")
    sms_url: GatewayURL = option(
        "", description="Where the SMS gateway takes messages. Empty: they go into the file."
    )
    sms_ca_file: OptionalPath = option(
        "", description="PEM file of the authorities that its certificate is of. Empty: the system's."
    )
    sms_token_file: OptionalPath = option("", description="File of the bearer token for the gateway.")
    connections: StrictInt = option(4, ge=1, le=32, description="Connections at a time, to each of the two.")
    timeout: PositiveDuration = option("30s", description="How long either may take for an answer.")
    patience: PositiveDuration = option(
        "3d", description="A letter that could not be delivered within this time is given up."
    )

    @model_validator(mode="after")
    def _mail_can_be_sent(self) -> "Letters":
        broken = []
        if self.mail_server and "@" not in self.mail_from:
            broken.append(Broken("missing", "a mail server needs mail_from, an address", "mail_from"))
        if bool(self.mail_user) != (self.mail_password_file is not None):
            broken.append(
                Broken("one without the other", "mail_user and mail_password_file go together", "mail_user")
            )
        if self.mail_server and self.mail_security == "none" and self.mail_server not in _THIS_MACHINE:
            broken.append(
                Broken("none", "mail to another machine is protected: tls or starttls", "mail_security")
            )
        if broken:
            raise RuleError(*broken)
        return self
