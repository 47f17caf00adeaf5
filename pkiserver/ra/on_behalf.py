"""On whose behalf a service asks: whom it identified, and how. It comes with each request, in a header.

On-Behalf-Of: civil-id="123456789012", by=fingerprint, reference="check-20260131-0007"
"""

import re
from typing import Final

from pkiserver.ra.registration.roles import Identified
from protocols.errors import MalformedError

HEADER: Final = "On-Behalf-Of"
MAX_CHARACTERS: Final = 250
# How a service may have identified somebody: by a check of fingerprints, a session of e-Mongolia or of the
# mobile app, or by the holder's certificate.
MEANS: Final = ("fingerprint", "e_mongolia", "mobile_app", "certificate")
# A dictionary of RFC 8941 §3.2 with these three members, in this order.
_MEMBERS: Final = re.compile(
    rf'civil-id="([0-9]{{12}})", ?by=({"|".join(MEANS)}), ?reference="([A-Za-z0-9._:/-]{{1,100}})"', re.ASCII
)


def parse_on_behalf_of(header: str) -> Identified:
    """Return whom a service names, and how it knows; `MalformedError`, quoting nothing, else."""
    found = _MEMBERS.fullmatch(header.strip()) if len(header) <= MAX_CHARACTERS else None
    if found is None:
        raise MalformedError(
            f'{HEADER} is civil-id="12 digits", by={"|".join(MEANS)}, reference="1 to 100 letters and digits"'
        )
    return Identified(found[1], found[2], found[3])
