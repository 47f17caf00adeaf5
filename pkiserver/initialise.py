"""Makes a new home, or finishes one that was begun."""

import re
import secrets
from typing import Final

from config.errors import ConfigError, Finding
from config.hierarchy import INFRASTRUCTURE
from config.loader import load_settings
from config.reference import reference
from config.schema import Settings
from config.validation import read_toml, validate
from pkiserver.beginnings import recorded_authorities
from pkiserver.clock import Clock
from pkiserver.core import open_core, register_first
from pkiserver.errors import ConflictError
from pkiserver.home import PRIVATE_FILE_MODE, Home, HomeLock, write_file
from pkiserver.progress import Progress

PASSPHRASE_OCTETS: Final = 32
_URL_OPTION: Final = "--public-url"
_URL_LINE: Final = re.compile(r"\A((?:(?!\s*\[)[^\n]*\n)*?)public_url[ \t]*=[^\n]*\n")  # before any table


def checked_url(public_url: str) -> str:
    """Return a public URL as the configuration takes it; `ConfigError` in terms of the option."""
    try:
        return validate(Settings, {"public_url": public_url}, _URL_OPTION).public_url
    except ConfigError as error:
        findings = [Finding(one.file, "", one.problem, one.rule) for one in error.findings]
        raise ConfigError(findings) from error


async def initialise(
    home: Home, public_url: str | None, *, offline_root: bool, progress: Progress
) -> list[str]:
    """Write the configuration if there is none, then make every key and certificate that is missing.

    Returns the names of the authorities whose requests an outside root is to sign. `ConfigError` for
    a `public_url` that is none, before anything is made; `ConflictError` when it differs from that of
    the configuration and authorities bear that one already.
    """
    wanted = checked_url(public_url) if public_url is not None else None
    home.make()
    with HomeLock(home):
        if not home.configuration.exists():
            _write_configuration(home, reference(wanted) if wanted is not None else reference())
        elif wanted is not None:
            _set_url(home, wanted)
        _make_passphrase(home)
        async with open_core(home, Clock()) as core:
            await core.issuance.recover()
            await core.hierarchy.set_up(progress, offline_root=offline_root)
            await core.server_certificates.maintain(progress)
            await register_first(core)
            if core.authorities.has(INFRASTRUCTURE):
                progress("first CRLs")
                await core.crl_publisher.work()
            await core.crl_publisher.restore_files()
            return [record.name for record in core.authorities.pending if record.key_label]


def _write_configuration(home: Home, text: str) -> None:
    write_file(home.configuration, text.encode(), PRIVATE_FILE_MODE)


def _set_url(home: Home, wanted: str) -> None:
    """Put another public URL into a configuration, as long as no certificate bears the former one."""
    content = read_toml(home.configuration)
    if not recorded_authorities(home):
        validate(Settings, content | {"public_url": wanted}, home.configuration.name)
        line = f'public_url = "{wanted}"\n'
        text, found = _URL_LINE.subn(lambda match: match[1] + line, home.configuration.read_text())
        _write_configuration(home, text if found else line + text)
    elif load_settings(home.configuration).public_url != wanted:
        raise ConflictError(f"{home.configuration} is there already: change public_url in it instead")


def _make_passphrase(home: Home) -> None:
    """Make the passphrase of the software keys, for a configuration that looks for it there."""
    path = home.keys / "passphrase"
    if not path.exists() and not any(home.keys.glob("*.pem")):
        write_file(path, secrets.token_urlsafe(PASSPHRASE_OCTETS).encode() + b"\n", PRIVATE_FILE_MODE)
