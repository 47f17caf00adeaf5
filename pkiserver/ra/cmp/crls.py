"""CRLs for who asks by CMP: the current one, and newer ones than the client has (RFC 9483 §4.3.4)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol

from pkiserver.ca.authorities import Authorities
from pkiserver.errors import RefusedError
from protocols.asn1 import der
from protocols.cmp.general import CRLSource, CRLStatus
from protocols.cmp.general_name import directory_name

MAX_CRL_BYTES: Final = 512 * 1024  # in one answer, which is kept in memory while it is signed and sent

_URI: Final = der.context(6, constructed=False)


class PublishedCRL(Protocol):
    """A complete CRL that is published: of all certificates of an authority, or of one shard."""

    @property
    def authority(self) -> int: ...

    @property
    def shard(self) -> int: ...

    @property
    def url(self) -> str: ...

    @property
    def this_update(self) -> datetime: ...

    @property
    def octets(self) -> int: ...

    async def read(self) -> bytes:
        """Return the CRL; `ConflictError` where it cannot be had now."""


class PublishedCRLs(Protocol):
    """What is published now."""

    def complete(self) -> Iterable[PublishedCRL]:
        """Return the newest CRL of each scope, without deltas."""


class CRLAnswers:
    """Finds CRLs by what a client says of them; never where the client says (RFC 9810 §5.3.19.17)."""

    def __init__(self, published: PublishedCRLs, authorities: Authorities) -> None:
        self._published = published
        self._authorities = authorities

    async def current(self, authority: int) -> bytes | None:
        """Return the newest CRL of all certificates of an authority, None before the first."""
        found = [crl for crl in self._published.complete() if crl.authority == authority and not crl.shard]
        return (await _contents(found))[0] if found else None

    async def newer(self, statuses: Sequence[CRLStatus]) -> tuple[bytes, ...]:
        """Return the CRLs that are asked for, each once, without those that the client has already."""
        wanted: dict[str, PublishedCRL] = {}
        for status in statuses:
            for crl in self._of_source(status.source):
                if status.this_update is None or crl.this_update > status.this_update:
                    wanted[crl.url] = crl
        return await _contents(wanted.values())

    def _of_source(self, source: CRLSource) -> list[PublishedCRL]:
        """Return the CRLs that a source means: by address, or by issuer that of all its certificates."""
        issuers = self._authorities_named({directory_name(name) for name in source.issuer})
        return [
            crl
            for crl in self._published.complete()
            if _address(crl.url) in source.full_name or (crl.authority in issuers and not crl.shard)
        ]

    def _authorities_named(self, names: set[bytes | None]) -> set[int]:
        return {one.id for one in self._authorities if one.certificate.subject.public_bytes() in names}


def _address(url: str) -> bytes:
    """Return the GeneralName that is a uniformResourceIdentifier."""
    return der.encode(_URI, url.encode("ascii"))


async def _contents(crls: Iterable[PublishedCRL]) -> tuple[bytes, ...]:
    crls = tuple(crls)
    size = sum(crl.octets for crl in crls)
    if size > MAX_CRL_BYTES:
        urls = ", ".join(crl.url for crl in crls)
        raise RefusedError(f"{size} bytes of CRLs are too much for CMP: they are at {urls}")
    return tuple([await crl.read() for crl in crls])
