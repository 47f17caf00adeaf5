"""Makes what a ceremony's file says: certificates, requests and CRLs, in its order.

The certificates take the profiles, the key policy and the lint of the server.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from config.ceremony import CRL, REASON_CODES, Certificate, Request, end_of
from config.profile import Profile
from pkiserver.ca.extensions import Addresses
from pkiserver.ca.identity import Identity
from pkiserver.ca.key_policy import check_key
from pkiserver.ca.lint import LintError, check_tbs
from pkiserver.ca.lint_crl import CRLFacts, PublishedCRL, lint_crl
from pkiserver.ca.tbs import CertificateContents, IssuerFacts, build_tbs, lint_facts, validity
from pkiserver.ceremony.detached import spki
from pkiserver.ceremony.inputs import CeremonyFile, read_certificate, read_crl, read_request
from pkiserver.ceremony.journal import Journal
from pkiserver.ceremony.keys import CeremonyKeys
from pkiserver.ceremony.signed_once import Product, SignedOnce
from pkiserver.errors import ConflictError, RefusedError
from pkiserver.signer.algorithms import SigningPublicKey, public_key_der, signature_algorithm_for
from pkiserver.signer.placeholder import placeholder_key
from protocols.crl import NO_FURTHER_UPDATE, build_tbs_cert_list, revoked_entry
from protocols.x509.certificate import serial_text
from protocols.x509.names import parse_subject


@dataclass(frozen=True, slots=True)
class _Issuer:
    facts: IssuerFacts
    certificate: x509.Certificate
    key: str


class Products:
    """Makes the products of one ceremony in the order of its file, each once."""

    def __init__(
        self,
        file: CeremonyFile,
        profiles: Mapping[str, Profile],
        keys: CeremonyKeys,
        journal: Journal,
        *,
        rehearsal: bool,
    ) -> None:
        self._file = file
        self._ceremony = file.ceremony
        self._profiles = profiles
        self._keys = keys
        self._signing = SignedOnce(keys, journal)
        self._rehearsal = rehearsal
        self._now = file.ceremony.at or journal.begun_at
        self._issuers: dict[str, _Issuer] = {}

    def check(self) -> None:
        """Look at everything that can be looked at before a key is touched; `RefusedError`."""
        for name, certificate in self._ceremony.certificates.items():
            if certificate.profile not in self._profiles:
                raise RefusedError(f"certificates.{name}: there is no profile {certificate.profile}")
            self._named(certificate)
        for known in self._ceremony.known.values():
            read_certificate(self._file, known.certificate)

    def make(self, tell: Callable[[Product], None]) -> list[Product]:
        """Make everything; `tell` hears of each product when it is on disk."""
        made: list[Product] = []

        def keep(product: Product) -> None:
            made.append(product)
            tell(product)

        for name in self._ceremony.known:
            self._know(name)
        for name, request in self._ceremony.requests.items():
            keep(self._request(name, request))
        for name, certificate in self._ceremony.certificates.items():
            keep(self._certificate(name, certificate))
        for name, crl in self._ceremony.crls.items():
            keep(self._crl(name, crl))
        return made

    def _know(self, name: str) -> None:
        known = self._ceremony.known[name]
        certificate = read_certificate(self._file, known.certificate)
        ours = public_key_der(self._keys.public_key(known.key))
        if not self._rehearsal and ours != spki(certificate):
            raise ConflictError(f"the key {known.key} is not that of the certificate of {name}")
        self._issuers[name] = _Issuer(IssuerFacts.of(certificate), certificate, known.key)

    def _named(self, wanted: Certificate) -> tuple[x509.Name, CertificatePublicKeyTypes | None]:
        """Return whom a certificate is for; the key is None where it is made here."""
        if wanted.request is not None:
            request = read_request(self._file, wanted.request)
            return request.subject, request.public_key()
        if wanted.certificate is not None:
            other = read_certificate(self._file, wanted.certificate)
            return other.subject, other.public_key()
        return parse_subject(wanted.subject or ""), None

    def _certificate(self, name: str, wanted: Certificate) -> Product:
        subject, public_key = self._named(wanted)
        if public_key is None:
            public_key = self._keys.public_key(wanted.key)
        profile = self._profile(wanted)
        check_key(public_key, profile.keys)
        issuer = self._issuers[wanted.issuer] if wanted.issuer else None
        facts = issuer.facts if issuer else IssuerFacts.of_root(subject, public_key)
        contents = CertificateContents(
            profile,
            Identity(subject),
            public_key,
            facts,
            self._addresses(wanted.issuer or name),
            self._signing.serial_of(name),
            *validity(profile, self._now, facts.not_after),
        )
        tbs = build_tbs(contents)
        check_tbs(tbs, lint_facts(contents))
        product = self._signing.sign(
            "certificate", name, issuer.key if issuer else wanted.key, facts.public_key, tbs
        )
        if wanted.key:
            certificate = x509.load_der_x509_certificate(product.der)
            self._issuers[name] = _Issuer(IssuerFacts.of(certificate), certificate, wanted.key)
        return product

    def _profile(self, wanted: Certificate) -> Profile:
        profile = self._profiles[wanted.profile].with_lifetime(wanted.lifetime)
        if wanted.ocsp:
            return profile
        access = profile.authority_info_access.model_copy(update={"ocsp": False})
        return profile.model_copy(update={"authority_info_access": access})

    def _addresses(self, issuer: str) -> Addresses:
        url = self._ceremony.public_url
        return Addresses(f"{url}/ocsp", f"{url}/ca/{issuer}.cer", f"{url}/crl/{issuer}.crl")

    def _request(self, name: str, wanted: Request) -> Product:
        public_key = self._keys.public_key(wanted.key)
        builder = x509.CertificateSigningRequestBuilder().subject_name(parse_subject(wanted.subject))
        algorithm = signature_algorithm_for(public_key).hash
        draft = builder.sign(placeholder_key(public_key), algorithm)  # type: ignore[arg-type]  # SHA-2 only
        return self._signing.sign("request", name, wanted.key, public_key, draft.tbs_certrequest_bytes)

    def _crl(self, name: str, wanted: CRL) -> Product:
        issuer = self._issuers[wanted.issuer]
        public_key = issuer.facts.public_key
        algorithm = signature_algorithm_for(public_key).der
        next_update = end_of(wanted, self._now, NO_FURTHER_UPDATE)
        entries = sorted(wanted.revoked, key=lambda one: int(one.serial, 16))
        tbs = build_tbs_cert_list(
            signature_algorithm=algorithm,
            issuer_der=issuer.certificate.subject.public_bytes(),
            this_update=self._now,
            next_update=next_update,
            entries=[
                revoked_entry(int(one.serial, 16), one.date, REASON_CODES[one.reason]) for one in entries
            ],
            authority_key_identifier=issuer.facts.key_identifier,
            crl_number=wanted.number,
        )
        previous = self._previous(wanted, issuer)
        facts = CRLFacts(
            issuer=issuer.certificate,
            signature_algorithm=algorithm,
            number=wanted.number,
            this_update=self._now,
            next_update=next_update,
            previous=previous,
            is_last=wanted.last,
        )
        if findings := lint_crl(tbs, facts):
            raise LintError("CRL", findings)
        return self._signing.sign("crl", name, issuer.key, public_key, tbs)

    def _previous(self, wanted: CRL, issuer: _Issuer) -> PublishedCRL | None:
        """Return the CRL that one follows; `RefusedError` where it is none, or would forget anybody."""
        if wanted.previous is None:
            return None
        former = read_crl(self._file, wanted.previous, issuer.certificate)
        kept = {int(one.serial, 16) for one in wanted.revoked}
        if lost := [serial_text(one.serial_number) for one in former if one.serial_number not in kept]:
            raise RefusedError(f"{wanted.previous.file} has {', '.join(lost)}, and the new CRL has not")
        number = former.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        return PublishedCRL(number, former.last_update_utc)

    def signer(self) -> tuple[x509.Certificate, str, SigningPublicKey]:
        """Return who signs the transcript: certificate, label and public part of the key."""
        named = self._issuers[self._ceremony.transcript.certificate]
        return named.certificate, named.key, self._keys.public_key(named.key)
