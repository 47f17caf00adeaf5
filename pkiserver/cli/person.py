"""`pkiserver person`: people on record. Every reading is recorded in the audit log."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import JSON_OPTION
from pkiserver.printing import show, show_rows


@click.group("person", cls=CommandGroup)
def person_group() -> None:
    """People on record. Who reads their data is in the audit log."""


@person_group.command("find")
@click.option("--name", help="How the name begins: the given name first, or the parent's.")
@click.option("--civil-id", help="The civil registration number.")
@click.option("--register-number", help="The register number.")
@JSON_OPTION
@click.pass_obj
def person_find(
    context: Context, name: str | None, civil_id: str | None, register_number: str | None, as_json: bool
) -> None:
    """Find people by a number, or by how their name begins, capitals or not.

    \b
    Example:  pkiserver person find --name 'дорж б'
    """
    result = context.command("person.find", name=name, civil_id=civil_id, register_number=register_number)
    show_rows(result, ("id", "parent_name", "given_name", "version", "updated_at"), as_json)


@person_group.command("show")
@click.argument("person", type=int)
@JSON_OPTION
@click.pass_obj
def person_show(context: Context, person: int, as_json: bool) -> None:
    """Show a person with their data.

    \b
    Example:  pkiserver person show 1
    """
    show(context.command("person.show", person=person), as_json)


@person_group.command("history")
@click.argument("person", type=int)
@JSON_OPTION
@click.pass_obj
def person_history(context: Context, person: int, as_json: bool) -> None:
    """Show what was changed of a person, with the values before.

    \b
    Example:  pkiserver person history 1
    """
    result = context.command("person.history", person=person)
    show_rows(result, ("at", "field", "before", "actor", "ground"), as_json)
