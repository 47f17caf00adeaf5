"""Drafts certificates: a TBS that lint passed, of a request, its issuer and the addresses of this server."""

from datetime import datetime

from pkiserver.ca.authorities import Authorities
from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.distribution_points import CRLAddress
from pkiserver.ca.extensions import Addresses
from pkiserver.ca.lint import check_tbs
from pkiserver.ca.tbs import CertificateContents, IssuerFacts, build_tbs, lint_facts, validity
from store.records import AuthorityRecord


class Drafts:
    """Makes TBSCertificates; keeps what the issuers' present certificates say."""

    def __init__(self, authorities: Authorities, public_url: str) -> None:
        self._authorities = authorities
        self._public_url = public_url
        self._issuers: dict[int, IssuerFacts] = {}

    def tbs(
        self,
        request: AuthorizedRequest,
        authority: AuthorityRecord,
        serial: int,
        crl: CRLAddress,
        now: datetime,
    ) -> bytes:
        """Return the DER TBSCertificate; `RefusedError`, or `LintError` where our own profile is wrong."""
        profile = request.profile
        if request.lifetime is not None:
            profile = profile.with_lifetime(request.lifetime)
        issuer = self._issuer(request, authority)
        begin_and_end = request.validity or validity(
            profile, now, issuer.not_after, cut=request.until_issuer_ends
        )
        contents = CertificateContents(
            profile,
            request.identity,
            request.public_key,
            issuer,
            self._addresses(authority, crl),
            serial,
            *begin_and_end,
        )
        tbs = build_tbs(contents)
        check_tbs(tbs, lint_facts(contents))
        return tbs

    def _addresses(self, authority: AuthorityRecord, crl: CRLAddress) -> Addresses:
        url = self._public_url
        return Addresses(f"{url}/ocsp", f"{url}/ca/{authority.handle}.cer", crl.url, crl.delta)

    def _issuer(self, request: AuthorizedRequest, authority: AuthorityRecord) -> IssuerFacts:
        """Return what the certificate says of its issuer; a root that has none yet issues itself."""
        if authority.certificate is None:
            return IssuerFacts.of_root(request.identity.subject, request.public_key)
        certificate = self._authorities.with_id(authority.id).certificate
        known = self._issuers.get(authority.id)
        if known is None or known.certificate is not certificate:
            known = self._issuers[authority.id] = IssuerFacts.of(certificate)
        return known
