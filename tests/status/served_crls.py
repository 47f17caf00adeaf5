"""What is served of an open core's CRLs, as a client reads it; and homes configured for other CRLs."""

import re
from datetime import datetime, timedelta

from cryptography import x509

from pkiserver.core import Core
from pkiserver.home import Home
from store.records import CRLRecord

NAMES = ("root", "citizen", "government", "infrastructure")
HOUR = timedelta(hours=1)


def served(core: Core, name: str = "infrastructure") -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl((core.home.public / "crl" / f"{name}.crl").read_bytes())


def published(core: Core) -> dict[str, CRLRecord]:
    return dict(core.crl_publisher.published())


def configure(home: Home, **options: str) -> None:
    """Give all authorities of a home these options."""
    text = home.configuration.read_text()
    for key, value in options.items():
        text, count = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert count == len(NAMES)
    home.configuration.write_text(text)


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def entries(crl: x509.CertificateRevocationList) -> dict[int, str | None]:
    """The reason of each serial, None for unspecified."""
    found: dict[int, str | None] = {}
    for entry in crl:
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
        except x509.ExtensionNotFound:
            reason = None
        found[entry.serial_number] = reason
    return found


Told = dict[int, tuple[datetime, str | None]]


def told(*crls: x509.CertificateRevocationList) -> Told:
    """What a full CRL and the delta to it tell together: date and reason of each serial that is not good."""
    found: Told = {}
    for crl in crls:
        reasons = entries(crl)
        for entry in crl:
            if reasons[entry.serial_number] == "removeFromCRL":
                found.pop(entry.serial_number, None)  # it may be of a delta in between (RFC 5280 §5.2.4)
            else:
                found[entry.serial_number] = (entry.revocation_date_utc, reasons[entry.serial_number])
    return found
