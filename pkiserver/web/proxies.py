"""What is believed of a load balancer that ends the clients' TLS: the client's address and certificate.

Only from addresses that the configuration trusts. Client-Cert-Chain (RFC 9440 §2.3) is passed over, bounded
as any field is: issuers come from our own anchors alone.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pkiserver.errors import NotAuthorizedError
from protocols.est.client_cert import CLIENT_CERT, parse_client_cert

MAX_FORWARDED_FOR_CHARACTERS: Final = 1_024  # some twenty proxies; what is longer was not written by ours

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The networks whose addresses are those of proxies; none unless configured."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def trusts(self, address: str | None) -> bool:
        """Return whether this is the address of a trusted proxy."""
        known = _address(address or "") if self.networks else None
        return known is not None and any(known in network for network in self.networks)

    def client_address(self, remote: str, forwarded_for: Sequence[str]) -> str:
        """Return the address of the client behind `remote`, or `remote` where no trusted proxy says another.

        It is the last in X-Forwarded-For that is no trusted proxy's: what stands before it was written by
        whoever asks.
        """
        client = remote
        if not self.trusts(remote) or sum(map(len, forwarded_for)) > MAX_FORWARDED_FOR_CHARACTERS:
            return client
        for text in reversed(",".join(forwarded_for).split(",")):
            address = _address(text.strip())
            if address is None:
                break
            client = str(address)
            if not self.trusts(client):
                break
        return client

    def client_certificate(
        self, remote: str | None, values: Sequence[str], own: bytes | None
    ) -> bytes | None:
        """Return the client's certificate (DER), or None where there is none.

        `values` are those of Client-Cert, `own` is the certificate of the TLS connection itself. A trusted
        proxy's own one is never its client's. Raises `NotAuthorizedError` for the header from elsewhere,
        `MalformedError` for a bad one.
        """
        if self.trusts(remote):
            return parse_client_cert(values) if values else None
        if values:
            raise NotAuthorizedError(
                f"{CLIENT_CERT} is taken from trusted proxies alone (est.trusted_proxies): connect without it"
            )
        return own


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address
