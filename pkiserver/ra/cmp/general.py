"""General messages: what a client may ask of the authority (RFC 9810 §5.3.19, RFC 9483 §4.3).

One table says how each type of information is answered. Types that are not in it are named in the answer,
as unsupportedOIDs (§5.3.19.7). A message without any asks for all that a client may need (appendix D.5).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.profile import Profile
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.root_updates import RootUpdate
from pkiserver.errors import RefusedError
from pkiserver.ra.client_certificates import Holder
from pkiserver.ra.cmp.crls import CRLAnswers
from pkiserver.ra.cmp.key_types import encryption_algorithms, request_template, signing_algorithms
from pkiserver.ra.cmp.senders import MACSender
from pkiserver.ra.cmp.stages import Reply, Request
from pkiserver.ra.credentials import enrollable, issuer_name
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import parse_certificate
from protocols.cmp.free_text import encode_free_text, parse_free_text
from protocols.cmp.general import (
    RootCaKeyUpdateContent,
    build_general_message,
    encode_algorithms,
    encode_oids,
    parse_crl_statuses,
    parse_general_message,
)
from protocols.cmp.info_type import InfoTypeAndValue
from protocols.errors import MalformedError
from protocols.x509.certificate import read_certificate

LANGUAGE: Final = "en"  # what texts here are written in (RFC 5646)
PREFERRED_CIPHER: Final = AlgorithmIdentifier(oid.AES256_CBC)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asker:
    """What is known of who asks: the profile that is asked for or entitled to, and who issued to it."""

    profile: str | None = None
    issuer: str | None = None


def asker_of(request: Request, profiles: Mapping[str, Profile]) -> Asker:
    """Return what a request tells: what it names goes before what its sender has."""
    sender = request.sender
    if isinstance(sender, MACSender):
        return Asker(request.profile or sender.credential.profile)
    issuer = None if sender.shown.issuer is None else sender.shown.issuer.name
    if request.profile is None and isinstance(sender.client, Holder):
        own = profiles.get(sender.client.record.profile)
        return Asker(own.name if own is not None and own.enroll else None, issuer)
    return Asker(request.profile, issuer)


Answer = Callable[[bytes | None, Asker], Awaitable[InfoTypeAndValue]]


class GeneralMessages:
    """Answers general messages."""

    def __init__(
        self,
        *,
        authorities: Authorities,
        profiles: Mapping[str, Profile],
        ca_certificates: Callable[[str | None], Sequence[bytes]],
        root_update: Callable[[x509.Certificate | None], RootUpdate | None],
        crls: CRLAnswers,
    ) -> None:
        """Take `ca_certificates` of a profile or all, and `root_update`: what follows a root."""
        self._authorities = authorities
        self._profiles = profiles
        self._ca_certificates = ca_certificates
        self._root_update = root_update
        self._crls = crls
        self._answers: Final[Mapping[str, Answer]] = {
            oid.IT_CA_PROT_ENC_CERT: self._ca_prot_enc_cert,
            oid.IT_SIGN_KEY_PAIR_TYPES: self._sign_key_pair_types,
            oid.IT_ENC_KEY_PAIR_TYPES: self._enc_key_pair_types,
            oid.IT_PREFERRED_SYMM_ALG: self._preferred_symm_alg,
            oid.IT_CURRENT_CRL: self._current_crl,
            oid.IT_SUPP_LANG_TAGS: self._supp_lang_tags,
            oid.IT_CA_CERTS: self._ca_certs,
            oid.IT_ROOT_CA_CERT: self._root_ca_cert,
            oid.IT_CERT_REQ_TEMPLATE: self._cert_req_template,
            oid.IT_CRL_STATUS_LIST: self._crl_status_list,
        }

    async def handle(self, request: Request) -> Reply:
        """Answer a genm with its genp; raises what `answer` does."""
        asked = parse_general_message(request.body.content_der)
        answered = await self.answer(asked, asker_of(request, self._profiles))
        return Reply(PKIBody(BodyType.GENP, build_general_message(answered)))

    async def answer(self, asked: Sequence[InfoTypeAndValue], asker: Asker) -> tuple[InfoTypeAndValue, ...]:
        """Return the elements of the genp, in the order of those of the genm.

        Raises `RefusedError` where one has a value that must not, lacks one that it must have, is repeated
        or cannot be answered, `NotFoundError` and `NotAuthorizedError` for a profile that cannot be asked
        for, `MalformedError` for a value that is not of its type.
        """
        types = [one.info_type for one in asked]
        if len(set(types)) < len(types):
            raise RefusedError("an infoType is asked for twice")
        if not asked:
            asked = [InfoTypeAndValue(kind) for kind in _ALL_RELEVANT]
        known = [one for one in asked if one.info_type in self._answers]
        answers = [await self._answers[one.info_type](one.info_value, asker) for one in known]
        unknown = [one.info_type for one in asked if one.info_type not in self._answers]
        if unknown:
            answers.append(InfoTypeAndValue(oid.IT_UNSUPPORTED_OIDS, encode_oids(unknown)))
        return tuple(answers)

    # ---- What is asked without a value

    async def _ca_prot_enc_cert(self, value: bytes | None, _asker: Asker) -> InfoTypeAndValue:
        """§5.3.19.1; there is nothing here that clients could encrypt for."""
        _require_absent(value, "caProtEncCert")
        return InfoTypeAndValue(oid.IT_CA_PROT_ENC_CERT)

    async def _sign_key_pair_types(self, value: bytes | None, asker: Asker) -> InfoTypeAndValue:
        _require_absent(value, "signKeyPairTypes")
        found = signing_algorithms(self._profiles_of(asker))
        return InfoTypeAndValue(oid.IT_SIGN_KEY_PAIR_TYPES, _algorithms(found))

    async def _enc_key_pair_types(self, value: bytes | None, asker: Asker) -> InfoTypeAndValue:
        _require_absent(value, "encKeyPairTypes")
        found = encryption_algorithms(self._profiles_of(asker))
        return InfoTypeAndValue(oid.IT_ENC_KEY_PAIR_TYPES, _algorithms(found))

    async def _preferred_symm_alg(self, value: bytes | None, _asker: Asker) -> InfoTypeAndValue:
        _require_absent(value, "preferredSymmAlg")
        return InfoTypeAndValue(oid.IT_PREFERRED_SYMM_ALG, PREFERRED_CIPHER.encode())

    async def _ca_certs(self, value: bytes | None, asker: Asker) -> InfoTypeAndValue:
        """RFC 9483 §4.3.1."""
        _require_absent(value, "caCerts")
        return InfoTypeAndValue(oid.IT_CA_CERTS, der.sequence(*self._ca_certificates(asker.profile)))

    async def _cert_req_template(self, value: bytes | None, asker: Asker) -> InfoTypeAndValue:
        """RFC 9483 §4.3.3; without a profile there is nothing to be said."""
        _require_absent(value, "certReqTemplate")
        if asker.profile is None:
            return InfoTypeAndValue(oid.IT_CERT_REQ_TEMPLATE)
        template = request_template(enrollable(self._profiles, asker.profile))
        return InfoTypeAndValue(oid.IT_CERT_REQ_TEMPLATE, template.encode())

    async def _current_crl(self, value: bytes | None, asker: Asker) -> InfoTypeAndValue:
        """RFC 9483 §4.3.4: of the authority that the profile names, or that issued to who asks."""
        _require_absent(value, "currentCRL")
        name = asker.issuer
        if asker.profile is not None:
            name = issuer_name(enrollable(self._profiles, asker.profile))
        if name is None:
            raise RefusedError("there are several authorities: name a profile to tell whose CRL is asked for")
        crl = await self._crls.current(self._authorities.get(name).id)
        if crl is None:
            raise RefusedError(f"authority {name} has no CRL yet")
        return InfoTypeAndValue(oid.IT_CURRENT_CRL, crl)

    # ---- What is asked with one

    async def _supp_lang_tags(self, value: bytes | None, _asker: Asker) -> InfoTypeAndValue:
        """§5.3.19.13: the first of the tags that is served; each may have a region and more behind it."""
        tags = _read(value, parse_free_text, "suppLangTags")
        for tag in tags:
            if tag.lower().partition("-")[0] == LANGUAGE:
                return InfoTypeAndValue(oid.IT_SUPP_LANG_TAGS, encode_free_text([tag]))
        raise RefusedError(f"texts are in {LANGUAGE} here, and none of the languages that are asked for")

    async def _root_ca_cert(self, value: bytes | None, _asker: Asker) -> InfoTypeAndValue:
        """RFC 9483 §4.3.2: what follows the root that the client has, or the newest change of all."""
        held = None if value is None else read_certificate(_read(value, parse_certificate, "rootCaCert"))
        update = self._root_update(held)
        return InfoTypeAndValue(oid.IT_ROOT_CA_KEY_UPDATE, _update(update).encode() if update else None)

    async def _crl_status_list(self, value: bytes | None, _asker: Asker) -> InfoTypeAndValue:
        """RFC 9483 §4.3.4; without a value where the client has the newest of all."""
        crls = await self._crls.newer(_read(value, parse_crl_statuses, "crlStatusList"))
        return InfoTypeAndValue(oid.IT_CRLS, der.sequence(*crls) if crls else None)

    def _profiles_of(self, asker: Asker) -> list[Profile]:
        if asker.profile is not None:
            return [enrollable(self._profiles, asker.profile)]
        return [profile for profile in self._profiles.values() if profile.enroll]


# Appendix D.5, but for the CRL, which may be large.
_ALL_RELEVANT: Final = (
    oid.IT_CA_PROT_ENC_CERT,
    oid.IT_SIGN_KEY_PAIR_TYPES,
    oid.IT_ENC_KEY_PAIR_TYPES,
    oid.IT_PREFERRED_SYMM_ALG,
    oid.IT_ROOT_CA_CERT,
)


def _require_absent(value: bytes | None, name: str) -> None:
    if value is not None:
        raise RefusedError(f"{name} is asked for without a value")


def _read(value: bytes | None, parse: Callable[[Reader], T], name: str) -> T:
    if value is None:
        raise RefusedError(f"{name} is asked for with a value")
    try:
        return der.whole(value, parse)
    except MalformedError as error:
        raise MalformedError(f"{name}: {error}") from error


def _algorithms(found: Iterable[AlgorithmIdentifier]) -> bytes | None:
    """Return the list, or None where there is none: it cannot be empty."""
    algorithms = tuple(found)
    return encode_algorithms(algorithms) if algorithms else None


def _update(update: RootUpdate) -> RootCaKeyUpdateContent:
    return RootCaKeyUpdateContent(
        _der(update.new),
        None if update.new_with_old is None else _der(update.new_with_old),
        None if update.old_with_new is None else _der(update.old_with_new),
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
