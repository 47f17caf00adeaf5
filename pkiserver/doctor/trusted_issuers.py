"""What the doctor says of the third parties whose certificates may enrol: their CRLs run out."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from config.errors import ConfigError
from config.profile import Profile
from pkiserver.doctor.finding import Finding
from pkiserver.home import Home
from pkiserver.ra.issuer_crls import renewal_due
from pkiserver.ra.trusted_issuers import TrustedIssuers

_REPLACE: Final = "put the next one into the file of trusted_issuers; once it has passed nobody enrols by it"


def issuer_crls(home: Home, profiles: Mapping[str, Profile]) -> Iterator[Finding]:
    """Ask for the next CRL of third parties in time: once it has run out, their certificates open nothing."""
    trusted = TrustedIssuers(home.path, profiles)
    try:
        trusted.load()
    except ConfigError as error:
        yield Finding("trusted issuer", False, str(error))
        return
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
