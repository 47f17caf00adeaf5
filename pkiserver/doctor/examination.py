"""The checks of a home, in the order in which an operator would look."""

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pkcs11.exceptions import NoSuchToken

from config.errors import ConfigError
from config.pkcs11_uri import PKCS11URI
from config.schema import Settings
from config.schema_keys import Keys
from config.schema_status import load_status_settings
from pkiserver.beginnings import unfinished
from pkiserver.core import load_configuration
from pkiserver.doctor.authorities import authorities, public_files
from pkiserver.doctor.finding import Finding
from pkiserver.doctor.running import server
from pkiserver.doctor.trusted_issuers import issuer_crls
from pkiserver.home import Home, is_at_work
from pkiserver.signer.errors import SignerSettingsError, SignerUnavailableError
from pkiserver.signer.pkcs11_session import find_token
from store.errors import StorageError

_BEGUN: Final = "this home was begun and not finished: run `pkiserver init`"


async def examine(home: Home) -> list[Finding]:
    """Return every finding about a home, in the order in which an operator would look."""
    if not home.exists():
        where = home.path.absolute()
        return [Finding("home", False, f"there is no home at {where}: run `pkiserver init --defaults`")]
    if home.only_serves_status():
        return await asyncio.to_thread(_status_machine, home)
    findings = [*_home(home)]
    try:
        settings, profiles = load_configuration(home)
    except ConfigError as error:
        return findings + [Finding("configuration", False, str(finding)) for finding in error.findings]
    findings.append(Finding("configuration", True, f"{len(profiles)} certificate profiles"))
    findings += _permissions(home)
    findings += _keys(home, settings.keys)
    findings += _disk(home, settings)
    findings += authorities(home, settings, profiles)
    findings += public_files(home)
    findings += issuer_crls(home, profiles)
    findings += await asyncio.to_thread(lambda: list(server(home)))
    if is_at_work(home, "status"):
        findings += await asyncio.to_thread(lambda: list(server(home, "status")))
    findings += _weak_keys(settings)
    return findings


def _status_machine(home: Home) -> list[Finding]:
    """Return what there is to say of the home of a machine that only serves status."""
    findings = [Finding("home", True, str(home.path))]
    try:
        load_status_settings(home.configuration)
    except ConfigError as error:
        return findings + [Finding("configuration", False, str(finding)) for finding in error.findings]
    findings.append(Finding("configuration", True, "only serves status"))
    findings += server(home, "status")
    return findings


def _home(home: Home) -> Iterator[Finding]:
    where = home.path.absolute()
    if os.statvfs(home.path).f_flag & os.ST_RDONLY:
        yield Finding("home", False, f"the file system of {where} is read-only: mount it for writing")
    elif not os.access(home.path, os.W_OK | os.X_OK):
        owner = home.path.stat().st_uid
        yield Finding("home", False, f"this user may not write {where}: run as its owner (user id {owner})")
    else:
        yield Finding("home", True, str(home.path))
    try:
        begun = unfinished(home)
    except StorageError as error:
        yield Finding("database", False, f"{home.database}: {error}: mend it, or restore a backup")
        return
    if begun:
        yield Finding("home", False, _BEGUN)


def _permissions(home: Home) -> Iterator[Finding]:
    for folder in (home.path, home.keys, home.tls, home.administrator, home.run):
        if not folder.is_dir():
            yield Finding("permissions", False, f"{folder} is missing: run `pkiserver init` again")
        elif stat.S_IMODE(folder.stat().st_mode) & 0o077:
            yield Finding("permissions", False, f"others may enter {folder}: chmod 700 it")
    for path in (*home.keys.glob("*"), *home.tls.glob("*"), home.database):
        if path.is_file() and path.stat().st_uid != os.geteuid():
            yield Finding("permissions", False, f"{path} belongs to another user: chown it to the server's")


def _keys(home: Home, keys: Keys) -> Iterator[Finding]:
    if keys.store == "software":
        option = "keys.passphrase_env" if keys.passphrase_env else "keys.passphrase_file"
        yield from _secret(home, option, keys.passphrase_file, keys.passphrase_env)
        return
    token = keys.token
    pin_file = Path(token.pin_file) if token.pin_file else None
    if token.pin_source is None:
        yield Finding("keys", True, "the PIN is asked for where the server is started (keys.uri)")
    else:
        yield from _secret(home, "keys.uri", pin_file, token.pin_environment or "")
    module = home.path / (token.module_path or "")
    if not module.is_file():
        detail = f"{module} is missing (keys.uri): install the PKCS #11 module, or correct its path"
        yield Finding("keys", False, detail)
        return
    yield _token(str(module), token)


def _token(module: str, token: PKCS11URI) -> Finding:
    name = token.token or token.serial
    try:
        find_token(module, token.token, token.serial)
    except SignerSettingsError:
        return Finding("keys", False, f'several tokens are "{name}": say which by its serial in keys.uri')
    except SignerUnavailableError as error:
        if isinstance(error.__cause__, NoSuchToken):
            return Finding(
                "keys", False, f'there is no token "{name}" (keys.uri): plug it in, or initialise one'
            )
        detail = f"{module} does not work ({type(error.__cause__).__name__}): see its maker's configuration"
        return Finding("keys", False, detail)
    return Finding("keys", True, f'token "{name}"')


def _secret(home: Home, option: str, file: Path | None, variable: str) -> Iterator[Finding]:
    if variable:
        known = "is set" if variable in os.environ else "is not set here; the server must have it"
        yield Finding("keys", True, f"{variable} ({option}) {known}")
        return
    path = home.path / (file or "")
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        reason = error.strerror or "input/output error"
        yield Finding("keys", False, f"{path}: {reason}: restore it, or say with {option} where it is")
        return
    if mode & stat.S_IRWXO:
        yield Finding("keys", False, f"{path} is open to others: chmod 600 it")
    if not content.strip():
        yield Finding("keys", False, f"{path} is empty: restore it, or say with {option} where it is")


def _disk(home: Home, settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(home.path).free
    enough = free >= settings.storage.min_free
    need = settings.storage.min_free >> 20
    detail = f"{free >> 20} MiB free" + ("" if enough else f", {need} MiB needed: make room")
    yield Finding("disk", enough, detail)


def _weak_keys(settings: Settings) -> Iterator[Finding]:
    if not settings.key_policy.blocklists:
        detail = (
            "no list of Debian weak keys is configured (key_policy.blocklists): only the example key of"
            " CVE-2008-0166 is known"
        )
        yield Finding("weak keys", True, detail)
