"""The reasons for a revocation, as an operator types them: the names of RFC 5280 §5.3.1."""

from collections.abc import Mapping
from typing import Final

from protocols.asn1.ocsp import CRLReason

REASONS: Final[Mapping[str, CRLReason]] = {
    "unspecified": CRLReason.UNSPECIFIED,
    "keyCompromise": CRLReason.KEY_COMPROMISE,
    "cACompromise": CRLReason.CA_COMPROMISE,
    "affiliationChanged": CRLReason.AFFILIATION_CHANGED,
    "superseded": CRLReason.SUPERSEDED,
    "cessationOfOperation": CRLReason.CESSATION_OF_OPERATION,
    "privilegeWithdrawn": CRLReason.PRIVILEGE_WITHDRAWN,
}
