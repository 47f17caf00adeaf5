"""Looks a home over, server running or not, and says what is wrong and what to do about it."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from pkcs11.exceptions import NoSuchToken

from config.errors import ConfigError
from config.pkcs11_uri import PKCS11URI
from config.profile import Profile
from config.schema import Settings
from config.schema_keys import Keys
from config.schema_status import load_status_settings
from pkiserver.beginnings import unfinished
from pkiserver.ca.rollover import NOTICE, latest_activation
from pkiserver.core import load_configuration
from pkiserver.home import Home, Role, is_at_work
from pkiserver.ra.issuer_crls import renewal_due
from pkiserver.ra.trusted_issuers import TrustedIssuers
from pkiserver.signer.errors import SignerSettingsError, SignerUnavailableError
from pkiserver.signer.pkcs11_session import find_token
from store import certificates
from store.authorities import all_authorities, all_responders
from store.database import Transaction, read_only
from store.errors import StorageError
from store.records import AuthorityRecord, ResponderRecord

EXPIRY_WARNING: Final = timedelta(days=30)
OVERDUE_SHARE: Final = 4  # OCSP signers are renewed with a third of their life left; a quarter is too late
READY_TIMEOUT_S: Final = 5.0
_BEGUN: Final = "this home was begun and not finished: run `pkiserver init`"
_RENEW: Final = "start the server, which renews it"
_REPLACE: Final = "put the next one into the file of trusted_issuers; once it has passed nobody enrols by it"
_CAUSE_ADVICE: Final = {
    "storage": "make room on the disk, or mend it; issuing goes on by itself",
    "clock": "set the clock right (NTP); issuing goes on when it has caught up",
    "presigner": "look at the signer and the disk; it tries again by itself",
    "crl": "look at the signer and the disk; `pkiserver crl publish` tries at once",
    "responses": "look at the machine that exports, and at what carries the exports here",
    "signer": "look at the token and at the log; `pkiserver signer show` counts the faults",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `detail` says what to do where it is not ok."""

    check: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON can carry it."""
        return asdict(self)


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
    findings += _authorities(home, settings, profiles)
    findings += _certificates(home)
    findings += _issuer_crls(home, profiles)
    findings += await asyncio.to_thread(lambda: list(_server(home)))
    if is_at_work(home, "status"):
        findings += await asyncio.to_thread(lambda: list(_server(home, "status")))
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
    findings += _server(home, "status")
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


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What the database says of the server's own certificates."""

    authorities: list[AuthorityRecord]
    responders: list[ResponderRecord]
    states: dict[int, str]  # of the authorities' certificates, by the number of the authority


def _recorded(tx: Transaction) -> _Recorded:
    authorities = all_authorities(tx)
    states: dict[int, str] = {}
    for record in authorities:
        if record.certificate and record.parent:
            serial = x509.load_der_x509_certificate(record.certificate).serial_number
            above = [one.id for one in authorities if one.name == record.parent]
            found = [certificates.get(tx, one, serial) for one in above if serial.bit_length() < 128]
            states |= [(record.id, one.state) for one in found if one is not None]
    return _Recorded(authorities, all_responders(tx), states)


def _authorities(home: Home, settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Finding]:
    try:
        recorded = read_only(home.database, _recorded)
    except StorageError:  # said already
        return
    if recorded is None:
        return
    now = datetime.now(UTC)
    newest = {record.authority: record for record in recorded.responders}
    for authority in recorded.authorities:
        yield from _authority(home, authority, recorded.states.get(authority.id, "active"))
        yield from _rollover(authority, recorded.authorities, settings, profiles, now)
        if authority.id in newest and authority.state not in ("ended", "compromised"):
            yield _responder(authority.handle, newest[authority.id], now)


def _authority(home: Home, authority: AuthorityRecord, state: str) -> Iterator[Finding]:
    """Look at one that should work: what is compromised or has ended is known to be of no use."""
    if authority.state in ("ended", "compromised"):
        return
    if state != "active":
        detail = f"the certificate of {authority.handle} is {state}: nobody trusts what it issued; "
        advice = (
            "restore it"
            if state == "suspended"
            else f"`pkiserver ca rollover {authority.name} --prepare`, then enrol its holders anew"
        )
        yield Finding("authority", False, detail + advice)
    crl = home.public / "crl" / f"{authority.handle}.crl"
    if authority.certificate and authority.key_label is None and not crl.exists():
        yield Finding("crl", False, f"{crl} is missing: make it at the outside root and put it in place")


def _rollover(
    authority: AuthorityRecord,
    known: list[AuthorityRecord],
    settings: Settings,
    profiles: Mapping[str, Profile],
    now: datetime,
) -> Iterator[Finding]:
    """Ask for the next key in time: later, what is issued would outlive its issuer and is refused."""
    if authority.state != "active" or not authority.certificate or authority.key_label is None:
        return
    end = x509.load_der_x509_certificate(authority.certificate).not_valid_after_utc
    latest = latest_activation(authority.name, end, settings, profiles)
    planned = [one.activate_at for one in known if one.name == authority.name and one.activate_at]
    near = latest - now < NOTICE and not (planned and planned[0] <= latest)
    detail = f"{authority.handle}: its next key has to be active by {latest:%Y-%m-%d}"
    advice = f": see `pkiserver ca rollover {authority.name}`" if near else ""
    yield Finding("rollover", not near, detail + advice)


def _responder(name: str, record: ResponderRecord, now: datetime) -> Finding:
    certificate = x509.load_der_x509_certificate(record.certificate)
    left = certificate.not_valid_after_utc - now
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    ok = left >= lifetime / OVERDUE_SHARE
    detail = f"OCSP signer of {name}: {left.days} days left"
    return Finding("certificate", ok, detail if ok else f"{detail}: {_RENEW}; where it runs, see its log")


def _certificates(home: Home) -> Iterator[Finding]:
    now = datetime.now(UTC)
    over = _over(home, now)
    for path in (*sorted((home.public / "ca").glob("*.cer")), home.tls / "server.pem"):
        if path.stem in over:
            continue
        certificate = _certificate(path)
        if certificate is None:
            detail = f"{path} is missing or damaged: is the hierarchy complete? see `pkiserver ca list`"
            yield Finding("certificate", False, detail)
            continue
        left = certificate.not_valid_after_utc - now
        advice = _RENEW if path.suffix == ".pem" else "a new key follows it by `pkiserver ca rollover`"
        detail = f"{path.name}: {left.days} days left"
        ok = left > EXPIRY_WARNING
        yield Finding("certificate", ok, detail if ok else f"{detail}: {advice}")
    yield from _crls(home, now, over)


def _over(home: Home, now: datetime) -> set[str]:
    """Return the handles of authorities of which nothing is expected any more: another key follows them."""
    try:
        recorded = read_only(home.database, _recorded)
    except StorageError:  # said already
        return set()
    known = [] if recorded is None else [one for one in recorded.authorities if one.certificate]
    return {one.handle for one in known if one.state != "active" and _is_over(one, now)}


def _is_over(authority: AuthorityRecord, now: datetime) -> bool:
    certificate = x509.load_der_x509_certificate(authority.certificate or b"")
    return authority.state in ("ended", "compromised") or now > certificate.not_valid_after_utc


def _crls(home: Home, now: datetime, over: set[str]) -> Iterator[Finding]:
    for path in sorted((home.public / "crl").glob("*.crl")):
        stem = path.name.removesuffix(".crl").removesuffix(".delta")
        if stem in over or stem.rpartition("-")[0] in over:
            continue
        try:
            next_update = x509.load_der_x509_crl(path.read_bytes()).next_update_utc
        except (OSError, ValueError):
            yield Finding("crl", False, f"{path} is damaged: start the server, which writes it again")
            continue
        fresh = next_update is not None and next_update > now
        detail = f"{path.name}: nextUpdate {next_update:%Y-%m-%d %H:%M} UTC" if next_update else path.name
        advice = "has passed: start the server; a CRL of an outside root is to be made there"
        yield Finding("crl", fresh, detail if fresh else f"{detail} {advice}")


def _issuer_crls(home: Home, profiles: Mapping[str, Profile]) -> Iterator[Finding]:
    """Ask for the next CRL of third parties in time: once it has run out, their certificates open nothing."""
    trusted = TrustedIssuers(home.path, profiles)
    with contextlib.suppress(ConfigError):  # it could be read a moment ago, with the configuration
        trusted.load()
    now = datetime.now(UTC)
    for issuer, crl in trusted.crls.items():
        due = renewal_due(crl)
        name = issuer.subject.rfc4514_string()
        if due is None:
            detail = f"the CRL of {name} has no nextUpdate: nobody enrols by it; {_REPLACE}"
            yield Finding("trusted issuer", False, detail)
            continue
        ok = now < due
        detail = f"the CRL of {name}: nextUpdate {crl.next_update_utc:%Y-%m-%d %H:%M} UTC"
        yield Finding("trusted issuer", ok, detail if ok else f"{detail}: {_REPLACE}")


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        content = path.read_bytes()
        if path.suffix == ".cer":
            return x509.load_der_x509_certificate(content)
        return x509.load_pem_x509_certificates(content)[0]
    except (OSError, ValueError):
        return None


def _server(home: Home, role: Role = "writer") -> Iterator[Finding]:
    endpoints = home.endpoints if role == "writer" else home.status_endpoints
    if not endpoints.exists() or not is_at_work(home, role):  # a killed server leaves its endpoints behind
        yield Finding("server", True, "not running")
        return
    try:
        metrics = json.loads(endpoints.read_text())["metrics"]
        address = (str(metrics[0][0]), int(metrics[0][1])) if metrics else None
    except (ValueError, KeyError, TypeError, IndexError):
        yield Finding("server", False, f"{endpoints} is damaged: restart the server")
        return
    if address is None:
        yield Finding("server", True, "running; its metrics address is closed, so nothing more is known")
        return
    yield from _readiness(*address)


def _readiness(host: str, port: int) -> Iterator[Finding]:
    try:
        causes = _ready(f"http://[{host}]:{port}/ready" if ":" in host else f"http://{host}:{port}/ready")
        states = [(str(one["name"]), str(one["state"]), str(one["detail"])) for one in causes]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        detail = f"it does not answer on its metrics address ({error}): look at its log"
        yield Finding("server", False, detail)
        return
    for name, state, detail in states:
        advice = "" if state == "ok" else f": {_CAUSE_ADVICE.get(name, 'look at its log')}"
        yield Finding(f"server: {name}", state == "ok", (detail or state) + advice)


def _ready(url: str) -> list[dict[str, str]]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    try:
        with opener.open(url, timeout=READY_TIMEOUT_S) as response:
            body = response.read()
    except urllib.error.HTTPError as error:  # 503 carries the causes as 200 does
        body = error.read()
    causes: list[dict[str, str]] = json.loads(body)["causes"]
    return causes


def _weak_keys(settings: Settings) -> Iterator[Finding]:
    if not settings.key_policy.blocklists:
        detail = (
            "no list of Debian weak keys is configured (key_policy.blocklists): only the example key of"
            " CVE-2008-0166 is known"
        )
        yield Finding("weak keys", True, detail)
