"""Looks at the authorities: their certificates, OCSP signers, CRLs, and whether they have their next keys."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from config.profile import Profile
from config.schema import Settings
from pkiserver.ca.rollover import NOTICE, latest_activation
from pkiserver.doctor.finding import Finding
from pkiserver.home import Home
from store import certificates
from store.authorities import all_authorities, all_responders
from store.database import Transaction, read_only
from store.errors import StorageError
from store.records import AuthorityRecord, ResponderRecord

EXPIRY_WARNING: Final = timedelta(days=30)
OVERDUE_SHARE: Final = 4  # OCSP signers are renewed with a third of their life left; a quarter is too late
_OVER: Final = frozenset({"ended", "compromised", "dropped"})  # states of which nothing is expected
_RENEW: Final = "start the server, which renews it"


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


def authorities(home: Home, settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Finding]:
    """Yield what the database says of the authorities and their OCSP signers."""
    try:
        recorded = read_only(home.database, _recorded)
    except StorageError:  # said already
        return
    if recorded is None:
        return
    now = datetime.now(UTC)
    newest = {record.authority: record for record in recorded.responders}
    yield from _without_a_key(recorded.authorities)
    for authority in recorded.authorities:
        yield from _authority(home, authority, recorded.states.get(authority.id, "active"))
        yield from _rollover(authority, recorded.authorities, settings, profiles, now)
        if authority.id in newest and authority.state not in _OVER:
            yield _responder(authority.handle, newest[authority.id], now)


def _without_a_key(known: list[AuthorityRecord]) -> Iterator[Finding]:
    """Name the authorities whose key is compromised, until another has taken its place."""
    at_work = {one.name for one in known if one.state == "active"}
    compromised = dict.fromkeys(one.name for one in known if one.state == "compromised")
    for name in compromised:
        if name not in at_work:
            advice = f"see `pkiserver ca rollover {name}` for the next step to another key"
            yield Finding("authority", False, f"{name} is compromised and issues nothing: {advice}")


def _authority(home: Home, authority: AuthorityRecord, state: str) -> Iterator[Finding]:
    """Look at one that should work: what is compromised or has ended is known to be of no use."""
    if authority.state in _OVER:
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


def public_files(home: Home) -> Iterator[Finding]:
    """Yield what the certificates and CRLs say that are shown to others."""
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
    return authority.state in _OVER or now > certificate.not_valid_after_utc


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


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        content = path.read_bytes()
        if path.suffix == ".cer":
            return x509.load_der_x509_certificate(content)
        return x509.load_pem_x509_certificates(content)[0]
    except (OSError, ValueError):
        return None
