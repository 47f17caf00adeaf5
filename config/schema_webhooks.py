"""To whom events of the register are pushed: `[webhooks]` of `pkiserver.toml`."""

from typing import Annotated, Final

from pydantic import AfterValidator, StrictInt, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError, refuse
from config.units import DNS_NAME, Network, OptionalPath, PositiveDuration

_HOST_RULE: Final = "a DNS name in lower case, and a port where it is not 443: api.e-mongolia.mn:8443"


def _host(value: str) -> str:
    name, colon, port = value.partition(":")
    is_port = not colon or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)
    if DNS_NAME.fullmatch(name) is None or name != name.lower() or not is_port or name[-1:].isdigit():
        raise refuse("this is no host", _HOST_RULE)
    return value


class Webhooks(Section):
    """Events of the register, pushed to connected systems; an administrator adds each of them."""

    hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = option(
        [],
        max_length=100,
        description="Hosts that events may be pushed to, such as api.e-mongolia.mn. Empty: none.",
    )
    networks: tuple[Network, ...] = option(
        [],
        max_length=100,
        description="Networks that are not public in which these hosts may be, such as 10.1.0.0/24.",
    )
    ca_file: OptionalPath = option(
        "", description="PEM file of the authorities that their certificates are of. Empty: the system's."
    )
    connections: StrictInt = option(4, ge=1, le=32, description="Connections at a time.")
    timeout: PositiveDuration = option("10s", description="How long one delivery may take.")
    most: StrictInt = option(20, ge=1, le=1000, description="How many webhooks there may be.")

    @model_validator(mode="after")
    def _networks_are_for_hosts(self) -> "Webhooks":
        if self.networks and not self.hosts:
            raise RuleError(Broken("networks without hosts", "name the hosts that are in them", "networks"))
        return self
