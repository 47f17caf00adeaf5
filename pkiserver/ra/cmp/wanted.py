"""What the requests of one message ask for (RFC 4211 §3, §5, RFC 2986), whoever may have it."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509

from pkiserver.errors import RefusedError
from pkiserver.ra.cmp.errors import BadCertIDError, BadCertTemplateError
from protocols import oid
from protocols.asn1.pkix import find_extension
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.crmf import (
    CertId,
    CertReqMsg,
    CertTemplate,
    KeyAgreement,
    KeyEncipherment,
    Subsequent,
    SubsequentMessage,
    parse_cert_req_messages,
    read_controls,
)
from protocols.cmp.numbers import P10CR_REQ_ID
from protocols.x509.csr import ParsedCSR, UnprovenCSR, parse_csr
from protocols.x509.distinguished_names import read_name
from protocols.x509.general_names import read_general_names

ONLY_REQUEST: Final = 0  # RFC 9483 §4.1.1: certReqId of the one request in a message


@dataclass(frozen=True, slots=True)
class Wanted:
    """One certificate request; `message` is None where it is a PKCS #10, which proves possession itself."""

    cert_req_id: int
    csr: UnprovenCSR
    message: CertReqMsg | None

    @property
    def later_proof(self) -> SubsequentMessage | None:
        """How a key for encryption will prove itself (RFC 9810 §5.2.8.3), None where it does otherwise."""
        popo = None if self.message is None else self.message.popo
        if isinstance(popo, KeyEncipherment | KeyAgreement) and isinstance(popo.method, Subsequent):
            return popo.method.message
        return None


def read_wanted(body: PKIBody, *, at_most: int) -> tuple[Wanted, ...]:
    """Return the requests of an ir, cr, kur or p10cr; raises `RefusedError` and what the parsers do."""
    if body.tag is BodyType.P10CR:
        return (Wanted(P10CR_REQ_ID, parse_csr(body.content_der), None),)
    messages = parse_cert_req_messages(body.content_der)
    if len(messages) > (1 if body.tag is BodyType.KUR else at_most):
        raise RefusedError(f"a message has {at_most} requests at most, and a kur has one")
    _require_ids([message.cert_req.cert_req_id for message in messages])
    return tuple(_wanted(message) for message in messages)


def _require_ids(ids: list[int]) -> None:
    if (
        len(set(ids)) < len(ids)
        or any(number < 0 for number in ids)
        or (len(ids) == 1 and ids != [ONLY_REQUEST])
    ):
        raise RefusedError("certReqId is 0, and where there are several requests each has another one")


def _wanted(message: CertReqMsg) -> Wanted:
    return Wanted(message.cert_req.cert_req_id, _asked_for(message.cert_req.template), message)


def _asked_for(template: CertTemplate) -> UnprovenCSR:
    subject = x509.Name([]) if template.subject is None else read_name(template.subject)
    names = find_extension(template.extensions, oid.SUBJECT_ALT_NAME)
    return UnprovenCSR(
        subject=subject,
        san=() if names is None else read_general_names(names.value),
        challenge_password=None,
    )


def as_certified(wanted: Wanted, certificate: x509.Certificate) -> UnprovenCSR:
    """Return a request with the names of a certificate where it says none: a template may leave them out."""
    if isinstance(wanted.csr, ParsedCSR):
        return wanted.csr
    csr = wanted.csr
    if not list(csr.subject):
        csr = replace(csr, subject=certificate.subject)
    if not csr.san:
        csr = replace(csr, san=_names(certificate.extensions))
    return csr


def _names(extensions: Iterable[x509.Extension[x509.ExtensionType]]) -> tuple[x509.GeneralName, ...]:
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            return tuple(extension.value)
    return ()


def require_no_other_subject(wanted: Wanted, approved: x509.Name) -> None:
    """Raise `BadCertTemplateError` where a request says otherwise of an attribute than what was approved.

    A proof of possession says nothing of who asks: whoever saw a request on plain HTTP could send it under a
    credential of its own, and have the key certified for itself before the one who holds it does.
    """
    right = _values(approved)
    for kind, said in _values(wanted.csr.subject).items():
        if kind in right and not said <= right[kind]:
            name = approved.get_attributes_for_oid(kind)[0].rfc4514_attribute_name
            raise BadCertTemplateError(f"{name} of the subject is not the approved one: leave it out")


def _values(name: x509.Name) -> dict[x509.ObjectIdentifier, set[str | bytes]]:
    found: dict[x509.ObjectIdentifier, set[str | bytes]] = {}
    for attribute in name:
        value = attribute.value
        found.setdefault(attribute.oid, set()).add(
            unicodedata.normalize("NFC", value) if isinstance(value, str) else value
        )
    return found


def old_cert_id(wanted: Wanted) -> CertId | None:
    """Return the certificate that a request says it updates (RFC 4211 §6.5)."""
    controls = () if wanted.message is None else wanted.message.cert_req.controls
    return read_controls(controls).old_cert_id


def is_named_by(old: CertId, certificate: x509.Certificate) -> bool:
    """Return whether oldCertID names a certificate."""
    return old == CertId.of(certificate.issuer.public_bytes(), certificate.serial_number)


def require_old_certificate(wanted: Wanted, certificate: x509.Certificate) -> None:
    """Raise `BadCertIDError` where oldCertID is not the sender's certificate (RFC 9483 §4.1.3)."""
    old = old_cert_id(wanted)
    if old is not None and not is_named_by(old, certificate):
        raise BadCertIDError("oldCertID is not the certificate that protects this message")
