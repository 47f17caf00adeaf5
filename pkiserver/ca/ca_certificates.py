"""The CA certificates that others are to have: chains, other generations, and the links of a root.

EST's cacerts, CMP's general messages and the chains that this server sends are made of these.
"""

from datetime import datetime
from typing import Final

from cryptography import x509

from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.ca.root_updates import RootUpdate
from store.records import AuthorityState

_WITHHELD: Final[frozenset[AuthorityState]] = frozenset({"prepared", "ended", "compromised", "dropped"})


def ca_certificates(authorities: Authorities, now: datetime, name: str | None = None) -> list[bytes]:
    """Return in DER what clients of an authority need, or of all (RFC 7030 §4.1.3); the chain first.

    After the chain come the other generations that issue, did or will, and of a root that changed its key
    OldWithOld, OldWithNew and NewWithOld as long as they are valid.
    """
    chain = authorities.chain(name) if name is not None else list(authorities)
    names = {one.name for one in chain}
    known = [one for one in (*chain, *authorities) if one.name in names and _is_given(one, now)]
    given = {one.certificate for one in known}
    updates = [one for one in authorities.root_updates if {one.old, one.new} <= given]
    links = [link for update in updates for link in update.links]
    return list(dict.fromkeys([*(one.der for one in known), *links]))


def sent_chain(authorities: Authorities, name: str) -> list[x509.Certificate]:
    """Return what this server sends after a certificate of an authority, the root left out.

    Who trusts but the former root finds the way by NewWithOld.
    """
    chain = authorities.chain(name)
    links = [
        update.new_with_old
        for update in authorities.root_updates
        if update.new == chain[-1].certificate and update.new_with_old is not None
    ]
    return [*(one.certificate for one in chain if one.parent), *links]


def root_update(authorities: Authorities, held: x509.Certificate | None = None) -> RootUpdate | None:
    """Return the change of the root's key that whoever trusts `held` needs, None where there is none.

    Without `held` the last one. For CMP's rootCaKeyUpdate (RFC 9810 §5.3.19.15).
    """
    shown = {one.certificate for one in authorities if one.state not in _WITHHELD}
    updates = [one for one in authorities.root_updates if one.new in shown]
    wanted = [one for one in updates if held is None or one.old == held]
    return wanted[-1] if wanted else None


def _is_given(authority: Authority, now: datetime) -> bool:
    return authority.state not in _WITHHELD and now <= authority.certificate.not_valid_after_utc
