"""`pkiserver person`: people on record. Every reading is recorded in the audit log."""

import click

from pkiserver.cli.context import CommandGroup, Context
from pkiserver.cli.options import AFTER_OPTION, JSON_OPTION, LIMIT_OPTION, read_number
from pkiserver.cli.register import show_timeline
from pkiserver.printing import show, show_page, show_rows


@click.group("person", cls=CommandGroup)
def person_group() -> None:
    """People on record. Who reads their data is in the audit log."""


@person_group.command("find")
@click.option("--name", help="How the name begins: the given name first, or the parent's.")
@click.option("--civil-id", "by_civil_id", is_flag=True, help="By the civil registration number.")
@click.option("--register-number", "by_register_number", is_flag=True, help="By the register number.")
@AFTER_OPTION
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def person_find(
    context: Context,
    name: str | None,
    by_civil_id: bool,
    by_register_number: bool,
    after: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find people by a number, or by how their name begins, capitals or not.

    A number is asked for, or read from standard input: others of this machine see the arguments of a command.

    \b
    Example:  pkiserver person find --name 'дорж б'
              pkiserver person find --civil-id < number.txt
    """
    if sum((name is not None, by_civil_id, by_register_number)) != 1:
        raise click.UsageError("find people by one of --name, --civil-id, --register-number")
    number = None if name is not None else read_number()
    result = context.command(
        "person.find",
        name=name,
        civil_id=number if by_civil_id else None,
        register_number=number if by_register_number else None,
        after=after,
        limit=limit,
    )
    show_page(result, ("id", "parent_name", "given_name", "version", "updated_at"), as_json, limit, "id")


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


@person_group.command("timeline")
@click.argument("person", type=int)
@AFTER_OPTION
@LIMIT_OPTION
@JSON_OPTION
@click.pass_obj
def person_timeline(context: Context, person: int, after: str | None, limit: int, as_json: bool) -> None:
    """Show all that happened to a person and their certificates, the oldest first.

    \b
    Example:  pkiserver person timeline 1
    """
    show_timeline(context.command("person.timeline", person=person, after=after, limit=limit), as_json)


@person_group.command("erase")
@click.argument("person", type=int)
@click.option("--ground", required=True, help="Why; without personal data.")
@JSON_OPTION
@click.pass_obj
def person_erase(context: Context, person: int, ground: str, as_json: bool) -> None:
    """Ask that what is personal of somebody is erased, once retention is over. Another person confirms it.

    \b
    Example:  pkiserver person erase 1 --ground 'retention is over'
    """
    show(context.command("person.erase", person=person, ground=ground), as_json)


@person_group.command("confirm-erasure")
@click.argument("person", type=int)
@JSON_OPTION
@click.pass_obj
def person_confirm_erasure(context: Context, person: int, as_json: bool) -> None:
    """Erase what is personal of somebody, as another person asked for. It cannot be undone.

    \b
    Example:  pkiserver person confirm-erasure 1
    """
    show(context.command("person.confirm-erasure", person=person), as_json)


@person_group.command("rotate-key")
@JSON_OPTION
@click.pass_obj
def person_rotate_key(context: Context, as_json: bool) -> None:
    """Encrypt personal data with a new key. The server works on meanwhile; cut short, it may be begun again.

    \b
    Example:  pkiserver person rotate-key
    """
    show(context.command("person.rotate-key"), as_json)
