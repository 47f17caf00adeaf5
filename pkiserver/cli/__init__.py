"""The command line: parses words, finds who does the work (a running server, or this process), prints.

One module a command or group of commands. What issues is imported where it is called: `serve --role status`
and the commands of the response table run on machines, and in processes, that must hold neither keys nor a
database.
"""

import os
import shlex
from pathlib import Path

import click
from click.core import ParameterSource

from pkiserver.cli.actor import actor_group
from pkiserver.cli.application import application_group
from pkiserver.cli.archive import archive_group
from pkiserver.cli.audit import audit_group
from pkiserver.cli.backup import backup_command, restore_command
from pkiserver.cli.bulk import bulk_group
from pkiserver.cli.ca import ca_group
from pkiserver.cli.case import case_group, letter_group
from pkiserver.cli.ceremony import ceremony_command
from pkiserver.cli.certificate import certificate_group
from pkiserver.cli.clock import clock_group
from pkiserver.cli.context import HOME_VARIABLE, CommandGroup, Context
from pkiserver.cli.credential import credential_group
from pkiserver.cli.crl import crl_group
from pkiserver.cli.demo import demo_command
from pkiserver.cli.doctor import doctor_command
from pkiserver.cli.document import document_group
from pkiserver.cli.enrollment import enrollment_group
from pkiserver.cli.init import init_command
from pkiserver.cli.ocsp import ocsp_group
from pkiserver.cli.office import office_group
from pkiserver.cli.organization import organization_group
from pkiserver.cli.person import person_group
from pkiserver.cli.plant import plant_group
from pkiserver.cli.register import register_group, report_command
from pkiserver.cli.registry import registry_group
from pkiserver.cli.responses import responses_group
from pkiserver.cli.serve import serve_command
from pkiserver.cli.signer import signer_group
from pkiserver.cli.status import status_group
from pkiserver.cli.token import token_group
from pkiserver.cli.webhook import webhook_group
from pkiserver.home import Home


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="pkiserver")
@click.option(
    "--home",
    # Not `readable` by click, which does not say whose it is.
    type=click.Path(file_okay=False, readable=False, path_type=Path),
    envvar=HOME_VARIABLE,
    default=Path("var"),
    show_default=True,
    help=f"The home folder of the installation; also from {HOME_VARIABLE}.",
)
@click.pass_context
def main(ctx: click.Context, home: Path) -> None:
    """The server of a certification authority: EST and CMP enrolment, OCSP, CRLs.

    \b
    Begin with:   pkiserver init --defaults
                  pkiserver serve
    """
    umask = os.umask(0o077)  # what is to be read by others says so itself
    ctx.call_on_close(lambda: os.umask(umask))
    given = ctx.get_parameter_source("home") is ParameterSource.COMMANDLINE
    ctx.obj = Context(Home(home), f"pkiserver --home {shlex.quote(str(home))}" if given else "pkiserver")


for _command in (
    init_command,
    serve_command,
    credential_group,
    enrollment_group,
    actor_group,
    office_group,
    person_group,
    organization_group,
    token_group,
    application_group,
    case_group,
    bulk_group,
    letter_group,
    document_group,
    archive_group,
    register_group,
    report_command,
    webhook_group,
    registry_group,
    plant_group,
    certificate_group,
    ca_group,
    crl_group,
    ocsp_group,
    signer_group,
    status_group,
    responses_group,
    audit_group,
    ceremony_command,
    backup_command,
    restore_command,
    clock_group,
    demo_command,
    doctor_command,
):
    main.add_command(_command)
