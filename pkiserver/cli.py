"""The command line: parses words, finds who does the work (a running server, or this process), prints.

What issues is imported where it is called: `serve --role status` and the commands of the response table run
on machines, and in processes, that must hold neither keys nor a database.
"""

import asyncio
import json
import os
import shlex
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click
import structlog
import uvloop
from click.core import ParameterSource

from config.errors import ConfigError, RuleError
from config.reference import reference
from config.schema import DEFAULT_PUBLIC_URL
from config.schema_status import load_status_settings
from config.units import parse_duration
from pkiserver.bounds import MAX_LIST
from pkiserver.clock import Clock
from pkiserver.control import MAX_LINE_BYTES, call, local_actor
from pkiserver.errors import ConflictError, NotFoundError, PKIServerError
from pkiserver.home import PRIVATE_FILE_MODE, Home, HomeLock, replaced_file
from pkiserver.logs import configure_logs
from pkiserver.printing import error_text, progress, show, show_rows
from pkiserver.ra.lifecycle import REVOCATION_REASONS
from pkiserver.serving import Addresses
from pkiserver.status.transfer import Moved, export_responses, import_responses
from pkiserver.status_server import StatusServer, serve_status
from protocols.errors import ProtocolError
from store.errors import StorageError

if TYPE_CHECKING:
    from pkiserver.app import Server

HOME_VARIABLE: Final = "PKISERVER_HOME"
_ERRORS: Final = (PKIServerError, ProtocolError, StorageError, ConfigError, OSError)
_log = structlog.get_logger("pkiserver.cli")


class _Group(click.Group):
    """A group whose commands end with one line on standard error instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # who read the output has had enough: click ends quietly
            raise
        except _ERRORS as error:
            context = ctx.find_object(_Context)
            text = error_text(error, context.home if context else None)
            raise click.ClickException(context.hint(text) if context else text) from error


class _InterruptedError(click.ClickException):
    """Ctrl-C in the middle of work that may be begun again."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class _Context:
    home: Home
    program: str = "pkiserver"  # with --home, where that was given: commands that are hinted at keep it

    def hint(self, text: str) -> str:
        """Return a text whose commands, written between backticks, work on this home as pasted."""
        return text.replace("`pkiserver ", f"`{self.program} ")

    def ready_home(self) -> Home:
        """Return the home; an error that says what to do when `init` was never there."""
        if not self.home.exists():
            raise NotFoundError(
                f"there is no home at {self.home.path.absolute()}: make one with `pkiserver init --defaults`,"
                f" or say where it is with --home or {HOME_VARIABLE}"
            )
        return self.home

    def issuing_home(self) -> Home:
        """Return the home; an error where it is that of a machine that only serves status."""
        home = self.ready_home()
        if home.only_serves_status():
            raise NotFoundError(
                f"{home.path.absolute()} has neither keys nor a database: make them with `pkiserver init`, or"
                " serve status alone with `pkiserver serve --role status`"
            )
        return home

    def finished_home(self) -> Home:
        """Return the home; an error that says what to do when `init` was cut short."""
        from pkiserver.beginnings import unfinished

        home = self.issuing_home()
        if unfinished(home):
            raise ConflictError("this home was begun and not finished: run `pkiserver init`")
        return home

    def command(self, command: str, /, **arguments: Any) -> Any:
        """Have a command carried out by the running server, or here under the home's lock."""
        return asyncio.run(_carry_out(self.issuing_home(), command, arguments))


async def _carry_out(home: Home, command: str, arguments: dict[str, Any]) -> Any:
    with progress() as tell:
        answer = await call(home, command, arguments, tell)
        if answer is not None:
            return answer[0]
        from pkiserver.core import open_core

        configure_logs(form="console", level="error")
        with HomeLock(home):
            async with open_core(home, Clock()) as core:
                return await core.commands.run(command, arguments, local_actor(os.getuid()), tell)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pkiserver")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=HOME_VARIABLE,
    default=Path("var"),
    show_default=True,
    help=f"The home folder of the installation; also from {HOME_VARIABLE}.",
)
@click.pass_context
def main(ctx: click.Context, home: Path) -> None:
    """The server of a certification authority: EST enrolment, OCSP, CRLs.

    \b
    Begin with:   pkiserver init --defaults
                  pkiserver serve
    """
    umask = os.umask(0o077)  # what is to be read by others says so itself
    ctx.call_on_close(lambda: os.umask(umask))
    given = ctx.get_parameter_source("home") is ParameterSource.COMMANDLINE
    ctx.obj = _Context(Home(home), f"pkiserver --home {shlex.quote(str(home))}" if given else "pkiserver")


_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_CA = click.option("--ca", metavar="NAME", help="The authority, where a serial alone is not enough.")
_SERIAL = click.argument("serial")
_LIMIT = click.option(
    "--limit",
    type=click.IntRange(1, MAX_LIST),
    default=100,
    show_default=True,
    help="How many at most.",
)
_BY = click.option(
    "--by",
    type=click.Choice(["holder", "authority"]),
    default="holder",
    show_default=True,
    help="Whose hold it is: one side's hold is not lifted by the other.",
)


@main.command("init")
@click.option("--public-url", metavar="URL", help="Where relying parties reach the HTTP side.")
@click.option("--defaults", is_flag=True, help="Ask nothing.")
@click.option("--offline-root", is_flag=True, help="Make no root: an outside root signs the issuing CAs.")
@click.option("--show-config", is_flag=True, help="Print the configuration reference and do nothing else.")
@click.option("--quiet", is_flag=True, help="Do not say what comes next.")
@click.pass_obj
def init_command(
    context: _Context,
    public_url: str | None,
    defaults: bool,
    offline_root: bool,
    show_config: bool,
    quiet: bool,
) -> None:
    """Make a new home: configuration, keys, authorities, the first certificates.

    Run again on a home that was begun, it finishes what is missing.

    \b
    Examples:  pkiserver init --defaults
               pkiserver --home /srv/pki init --public-url http://pki.example.mn
    """
    from pkiserver.initialise import checked_url

    if show_config:
        click.echo(reference(checked_url(public_url)) if public_url else reference(), nl=False)
        return
    try:
        if public_url is None and not defaults and not context.home.exists():
            public_url = _asked_url()
        waiting = _initialise(context.home, public_url, offline_root)
    except (KeyboardInterrupt, click.Abort) as error:
        raise _InterruptedError("interrupted; run the same command again, it finishes") from error
    if not quiet:
        click.echo(_next_step(context, waiting))


def _initialise(home: Home, public_url: str | None, offline_root: bool) -> list[str]:
    from pkiserver.initialise import initialise

    configure_logs(form="console", level="error")
    with progress() as tell:
        return asyncio.run(initialise(home, public_url, offline_root=offline_root, progress=tell))


def _next_step(context: _Context, waiting: list[str]) -> str:
    if not waiting:
        return f"The home {context.home.path} is ready. Next: {context.program} serve"
    return (
        f"The home {context.home.path} waits for an outside root to certify {', '.join(waiting)}."
        f"\nNext: {context.program} ca csr {waiting[0]}, and so on"
    )


def _asked_url() -> str:
    """Ask for the public URL until it is one."""
    if not is_terminal():
        raise click.UsageError("there is no terminal to ask at: give --public-url URL or --defaults")
    question = "Public URL (it is written into certificates)"
    return str(click.prompt(question, DEFAULT_PUBLIC_URL, value_proc=_url_answer))


def _url_answer(answer: str) -> str:
    from pkiserver.initialise import checked_url

    try:
        return checked_url(answer)
    except ConfigError as error:
        finding = error.findings[0]
        raise click.BadParameter(f"{finding.problem}; {finding.rule}") from error


def is_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()


@main.command("serve")
@click.option(
    "--role",
    type=click.Choice(["all", "issuing", "status"]),
    default="all",
    show_default=True,
    help="issuing: all but the HTTP port. status: the HTTP port alone, without key or database.",
)
@click.option("--http", metavar="ADDR:PORT", help="Plain HTTP address, instead of the configured one.")
@click.option("--https", metavar="ADDR:PORT", help="HTTPS address, instead of the configured one.")
@click.option("--metrics", metavar="ADDR:PORT", help="Metrics address, instead of the configured one.")
@click.option(
    "--welcome",
    "show_welcome",
    is_flag=True,
    help="Print the endpoints, a fresh enrolment credential and commands to try.",
)
@click.pass_obj
def serve_command(
    context: _Context,
    role: str,
    http: str | None,
    https: str | None,
    metrics: str | None,
    show_welcome: bool,
) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    \b
    Examples:  pkiserver serve
               pkiserver serve --http 0.0.0.0:80 --https 0.0.0.0:443
               pkiserver serve --role status --http 0.0.0.0:80
    """
    if (role == "status" and https) or (role == "issuing" and http):
        raise click.UsageError(f"the role {role} does not listen there")
    if show_welcome and role != "all":
        raise click.UsageError("--welcome shows what the role all serves")
    given = {"http": http, "https": https, "metrics": metrics}
    listen = {door: [address] for door, address in given.items() if address}
    if role == "status":
        _serve_status(context.ready_home(), listen)
    else:
        _serve_issuing(context, listen, show_welcome, status=role == "all")


def _serve_status(home: Home, listen: dict[str, list[str]]) -> None:
    settings = load_status_settings(home.configuration).with_listen(listen)
    configure_logs(form=settings.log.format, level=settings.log.level)

    async def started(server: StatusServer) -> None:
        _log_ready(server.addresses)

    with HomeLock(home, "status"):
        uvloop.run(serve_status(home, settings, Clock(), started))
    _log.info("stopped")


def _log_ready(addresses: Addresses) -> None:
    _log.info("ready", **asdict(addresses))


def _serve_issuing(
    context: _Context, listen: dict[str, list[str]], show_welcome: bool, *, status: bool
) -> None:
    from pkiserver.app import serve
    from pkiserver.core import load_configuration
    from pkiserver.welcome import welcome

    home = context.issuing_home()
    settings, _ = load_configuration(home)
    context.finished_home()
    configure_logs(form=settings.log.format, level="warning" if show_welcome else settings.log.level)

    async def started(server: "Server") -> None:
        _log_ready(server.addresses)
        if show_welcome:
            click.echo(await welcome(server))

    home.make()  # a backup holds only what cannot be made anew
    with HomeLock(home):
        uvloop.run(serve(home, Clock(), started, listen=listen, status=status))
    _log.info("stopped")


@main.group("credential", cls=_Group)
def credential_group() -> None:
    """Enrolment credentials: who knows one may enrol the identity in it."""


@credential_group.command("create")
@click.option("--profile", required=True, help="The certificate profile to enrol for.")
@click.option("--subject", required=True, metavar="CN=…,…", help="The subject, as RFC 4514 text.")
@click.option("--san", multiple=True, metavar="dns:NAME", help="A subjectAltName: dns:, ip:, email: or uri:.")
@click.option("--uses", default=1, show_default=True, help="How many certificates it is good for.")
@click.option("--limit-mnt", type=int, help="Limit of the value of transactions, in MNT (citizen-signature).")
@click.option("--lifetime", metavar="7d", help="How long it may be used.  [default: the configured time]")
@_JSON
@click.pass_obj
def credential_create(
    context: _Context,
    profile: str,
    subject: str,
    san: tuple[str, ...],
    uses: int,
    limit_mnt: int | None,
    lifetime: str | None,
    as_json: bool,
) -> None:
    """Make a credential and print its reference and secret. The secret is not kept: note it now.

    \b
    Example:  pkiserver credential create --profile tls-server \\
                  --subject CN=www.example.mn --san dns:www.example.mn
    """
    result = context.command(
        "credential.create",
        profile=profile,
        subject=subject,
        san=list(san),
        uses=uses,
        limit_mnt=limit_mnt,
        lifetime_s=_seconds(lifetime) if lifetime else None,
    )
    show(result, as_json)


def _seconds(duration: str) -> int:
    try:
        return int(parse_duration(duration).total_seconds())
    except RuleError as error:
        raise click.BadParameter(str(error), param_hint="--lifetime") from error


@credential_group.command("list")
@_JSON
@click.pass_obj
def credential_list(context: _Context, as_json: bool) -> None:
    """List the credentials, the newest first; secrets are not known."""
    show_rows(
        context.command("credential.list"),
        ("reference", "profile", "state", "uses_left", "expires_at", "subject"),
        as_json,
    )


@credential_group.command("cancel")
@click.argument("reference")
@_JSON
@click.pass_obj
def credential_cancel(context: _Context, reference: str, as_json: bool) -> None:
    """Cancel a credential: it cannot be used any more."""
    show(context.command("credential.cancel", reference=reference), as_json)


@main.group("certificate", cls=_Group)
def certificate_group() -> None:
    """Issued certificates: look at them, suspend, restore, revoke. SERIAL is hexadecimal."""


@certificate_group.command("list")
@click.option("--ca", metavar="NAME", help="Only those of this authority.")
@click.option(
    "--status",
    type=click.Choice(["active", "suspended", "revoked", "expired"]),
    help="Only those that are so now.",
)
@_LIMIT
@_JSON
@click.pass_obj
def certificate_list(
    context: _Context, ca: str | None, status: str | None, limit: int, as_json: bool
) -> None:
    """List certificates, the newest first."""
    rows = context.command("certificate.list", ca=ca, state=status, limit=limit)
    show_rows(rows, ("ca", "serial", "status", "profile", "not_after", "subject"), as_json)


@certificate_group.command("show")
@_SERIAL
@_CA
@_JSON
@click.pass_obj
def certificate_show(context: _Context, serial: str, ca: str | None, as_json: bool) -> None:
    """Show a certificate and what happened to it."""
    show(context.command("certificate.show", serial=serial, ca=ca), as_json)


@certificate_group.command("suspend")
@_SERIAL
@_CA
@_BY
@_JSON
@click.pass_obj
def certificate_suspend(context: _Context, serial: str, ca: str | None, by: str, as_json: bool) -> None:
    """Put a certificate on hold: OCSP and CRL say certificateHold until it is restored."""
    show(context.command("certificate.suspend", serial=serial, ca=ca, by=by), as_json)


@certificate_group.command("restore")
@_SERIAL
@_CA
@_BY
@_JSON
@click.pass_obj
def certificate_restore(context: _Context, serial: str, ca: str | None, by: str, as_json: bool) -> None:
    """Lift a hold; the certificate is good again when no other hold is open."""
    show(context.command("certificate.restore", serial=serial, ca=ca, by=by), as_json)


@certificate_group.command("revoke")
@_SERIAL
@_CA
@click.option(
    "--reason",
    type=click.Choice(list(REVOCATION_REASONS)),
    default="unspecified",
    show_default=True,
    help="Why, in the words of RFC 5280 §5.3.1; CRL and OCSP say it.",
)
@_JSON
@click.pass_obj
def certificate_revoke(context: _Context, serial: str, ca: str | None, reason: str, as_json: bool) -> None:
    """Revoke a certificate for ever."""
    show(context.command("certificate.revoke", serial=serial, ca=ca, reason=reason), as_json)


@main.group("ca", cls=_Group)
def ca_group() -> None:
    """The authorities of this installation."""


@ca_group.command("list")
@_JSON
@click.pass_obj
def ca_list(context: _Context, as_json: bool) -> None:
    """List the authorities."""
    show_rows(context.command("ca.list"), ("name", "state", "parent", "not_after", "subject"), as_json)


@ca_group.command("show")
@click.argument("name")
@_JSON
@click.pass_obj
def ca_show(context: _Context, name: str, as_json: bool) -> None:
    """Show an authority, its OCSP signer and its CRL."""
    show(context.command("ca.show", name=name), as_json)


@ca_group.command("export")
@click.argument("name")
@click.option("--chain", is_flag=True, help="Also the certificates above it, the root last.")
@click.option("--der", is_flag=True, help="DER instead of PEM; one certificate only.")
@_JSON
@click.pass_obj
def ca_export(context: _Context, name: str, chain: bool, der: bool, as_json: bool) -> None:
    """Write an authority's certificate to standard output.

    \b
    Example:  pkiserver ca export citizen --chain > citizen-chain.pem
    """
    if der and (chain or as_json):
        raise click.UsageError("--der writes one certificate: leave --chain and --json away")
    result = context.command("ca.export", name=name, chain=chain)
    certificates = result["certificates"]
    if as_json:
        show(result, as_json)
    elif der:
        sys.stdout.buffer.write(ssl.PEM_cert_to_DER_cert(certificates[0]))
        sys.stdout.buffer.flush()  # a closed pipe shows here, and not when the interpreter ends
    else:
        click.echo("".join(certificates), nl=False)


@ca_group.command("csr")
@click.argument("name")
@_JSON
@click.pass_obj
def ca_csr(context: _Context, name: str, as_json: bool) -> None:
    """Write the request of an authority (PKCS #10, PEM) for an outside root to sign."""
    show(context.command("ca.csr", name=name), as_json)


@ca_group.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_JSON
@click.pass_obj
def ca_import(context: _Context, name: str, file: Path, as_json: bool) -> None:
    """Take the certificate that an outside root gave an authority (PEM); first the root's own.

    \b
    Example:  pkiserver ca import root outside-root.pem
              pkiserver ca import citizen citizen.pem
    """
    if file.stat().st_size > MAX_LINE_BYTES // 2:
        raise click.UsageError(f"{file} is too large for a certificate")
    show(context.command("ca.import", name=name, pem=file.read_text("ascii", "replace")), as_json)


@main.group("crl", cls=_Group)
def crl_group() -> None:
    """Certificate revocation lists."""


@crl_group.command("publish")
@click.option("--ca", metavar="NAME", help="Only the CRL of this authority.")
@_JSON
@click.pass_obj
def crl_publish(context: _Context, ca: str | None, as_json: bool) -> None:
    """Publish new CRLs now; the server also does it by itself on change and on schedule."""
    rows = context.command("crl.publish", ca=ca)
    show_rows(rows, ("ca", "number", "this_update", "next_update"), as_json)


@main.group("responses", cls=_Group)
def responses_group() -> None:
    """The table of OCSP responses, and the CRLs and CA certificates served beside it."""


_DASH: Final = Path("-")


@responses_group.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--no-public", is_flag=True, help="Leave out the CRLs and CA certificates.")
@_JSON
@click.pass_obj
def responses_export(context: _Context, file: Path, no_public: bool, as_json: bool) -> None:
    """Write all that a status machine serves to FILE, or to standard output for "-".

    One snapshot of the table, while the server goes on.

    \b
    Examples:  pkiserver responses export status.bin
               pkiserver responses export - | ssh status1 pkiserver responses import -
    """
    home = context.ready_home()
    with progress() as tell, _written(file) as out:
        moved = export_responses(home, out, Clock().now(), tell, public=not no_public)
    if file != _DASH:
        show(_shown_move(moved), as_json)


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    if file != _DASH:
        with replaced_file(file, PRIVATE_FILE_MODE) as out:
            yield out
    elif sys.stdout.isatty():
        raise click.UsageError("an export is not to be read: send it to a file or another program")
    else:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


@responses_group.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--allow-older", is_flag=True, help="Also one that is older than what is served.")
@_JSON
@click.pass_obj
def responses_import(context: _Context, file: Path, allow_older: bool, as_json: bool) -> None:
    """Serve what is in FILE, or comes on standard input for "-", in place of what is served now.

    A server of the role status takes it up by itself. Whatever is wrong with the file, nothing changes.

    \b
    Example:  pkiserver responses import status.bin
    """
    home = context.ready_home()
    with progress() as tell, _read(file) as source:
        moved = import_responses(home, source, Clock().now(), tell, allow_older=allow_older)
    show(_shown_move(moved), as_json)


@contextmanager
def _read(file: Path) -> Iterator[BinaryIO]:
    if file == _DASH:
        yield sys.stdin.buffer
    else:
        with file.open("rb") as source:
            yield source


def _shown_move(moved: Moved) -> dict[str, Any]:
    return asdict(moved) | {"exported_at": moved.exported_at.isoformat()}


@main.group("audit", cls=_Group)
def audit_group() -> None:
    """The audit log."""


@audit_group.command("list")
@_LIMIT
@_JSON
@click.pass_obj
def audit_list(context: _Context, limit: int, as_json: bool) -> None:
    """List the records, the newest first: who did what, and how it ended."""
    rows = context.command("audit.list", limit=limit)
    show_rows(rows, ("sequence", "at", "actor", "action", "outcome", "detail"), as_json)


@audit_group.command("verify")
@click.option(
    "--head",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A head that `audit head` wrote earlier: proves that no tail was cut since.",
)
@_JSON
@click.pass_obj
def audit_verify(context: _Context, head: Path | None, as_json: bool) -> None:
    """Check the whole chain; fails at the first record that was altered, removed or moved.

    \b
    Example:  pkiserver audit head > monday.json
              pkiserver audit verify --head monday.json
    """
    text = head.read_text(errors="replace") if head is not None else None
    show(context.command("audit.verify", head=text), as_json)


@audit_group.command("head")
@click.option("--json", is_flag=True, expose_value=False, help="As always: this command prints JSON.")
@click.pass_obj
def audit_head(context: _Context) -> None:
    """Print the end of the chain as JSON, to be kept elsewhere."""
    click.echo(json.dumps(context.command("audit.head")))


@main.group("clock", cls=_Group)
def clock_group() -> None:
    """The machine's clock, as the server sees it."""


@clock_group.command("accept")
@_JSON
@click.pass_obj
def clock_accept(context: _Context, as_json: bool) -> None:
    """Say that the clock is right now, although records of a later time are there.

    Only after the clock had been ahead by mistake and was corrected: issuing waits otherwise until the
    wrong time is reached.
    """
    show(context.command("clock.accept"), as_json)


@main.command("doctor")
@_JSON
@click.pass_obj
def doctor_command(context: _Context, as_json: bool) -> None:
    """Say what is wrong here and what to do about it; fails when anything is."""
    from pkiserver.doctor import examine

    findings = asyncio.run(examine(context.home))
    rows = [{**finding.to_json(), "detail": context.hint(finding.detail)} for finding in findings]
    show_rows(rows, ("check", "ok", "detail"), as_json)
    if not all(finding.ok for finding in findings):
        sys.exit(1)
