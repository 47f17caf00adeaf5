"""What all commands share: the home, who carries a command out (a server, or this process), errors."""

import os
from dataclasses import dataclass
from typing import Any, Final

import click

from config.errors import ConfigError
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotFoundError, PKIServerError
from pkiserver.home import Home, HomeLock
from pkiserver.printing import error_text, progress
from pkiserver.progress import GiveFile, no_files
from protocols.errors import ProtocolError
from store.errors import StorageError

HOME_VARIABLE: Final = "PKISERVER_HOME"
_ERRORS: Final = (PKIServerError, ProtocolError, StorageError, ConfigError, OSError)


class CommandGroup(click.Group):
    """A group whose commands end with one line on standard error instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # who read the output has had enough: click ends quietly
            raise
        except _ERRORS as error:
            context = ctx.find_object(Context)
            text = error_text(error, context.home if context else None)
            raise click.ClickException(context.hint(text) if context else text) from error


class InterruptedCommandError(click.ClickException):
    """Ctrl-C in the middle of work that may be begun again."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class Context:
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

    def command(self, command: str, give_file: GiveFile = no_files, /, **arguments: Any) -> Any:
        """Have a command carried out by the running server, or here under the home's lock.

        `give_file` gets the files that it makes.
        """
        import asyncio

        return asyncio.run(_carry_out(self.issuing_home(), command, arguments, give_file))


async def _carry_out(home: Home, command: str, arguments: dict[str, Any], give_file: GiveFile) -> Any:
    from pkiserver.control import call, local_actor

    with progress() as tell:
        answer = await call(home, command, arguments, tell, give_file)
        if answer is not None:
            return answer[0]
        from pkiserver.core import open_core
        from pkiserver.logs import configure_logs

        configure_logs(form="console", level="error")
        with HomeLock(home):
            async with open_core(home, Clock()) as core:
                return await core.commands.run(command, arguments, local_actor(os.getuid()), tell, give_file)
