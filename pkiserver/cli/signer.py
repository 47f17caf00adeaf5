"""`pkiserver signer`: the processes that hold the keys, or the sessions with the HSM."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show


@click.group("signer", cls=CommandGroup)
def signer_group() -> None:
    """The processes that hold the keys, or the sessions with the HSM."""


@signer_group.command("show")
@JSON_OPTION
@click.pass_obj
def signer_show(context: Context, as_json: bool) -> None:
    """Show how many workers serve, what waits, the faults so far, and the state of the circuit.

    closed: all is well. retrying: the token fails and is tried again. open: passphrase or PIN were
    refused, and nothing is tried until `pkiserver signer reset`.

    \b
    Example:  pkiserver signer show
    """
    _show(context.command("signer.show"), as_json)


@signer_group.command("reset")
@click.option(
    "--pin", "new_pin", is_flag=True, help="Ask here for another PIN, where the server asked for it."
)
@JSON_OPTION
@click.pass_obj
def signer_reset(context: Context, new_pin: bool, as_json: bool) -> None:
    """Say that passphrase, PIN or token are mended: log-ins are tried again.

    Look at the PIN first: each wrong try brings the token nearer to its lock.

    \b
    Example:  pkiserver signer reset
              pkiserver signer reset --pin
    """
    from pkiserver.signer.secret import ask_secret

    arguments = {"pin": ask_secret("PIN").decode(errors="replace")} if new_pin else {}
    _show(context.command("signer.reset", **arguments), as_json)


def _show(result: dict[str, object], as_json: bool) -> None:
    faults = result["faults"]
    if not as_json and isinstance(faults, dict):
        result = result | {"faults": ", ".join(f"{name} {count}" for name, count in faults.items())}
    show(result, as_json)
