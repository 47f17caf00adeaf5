"""What people read of a ceremony's products, before they are made and after: each field, in words."""

import hashlib
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pkiserver.ceremony.signed_once import Product
from pkiserver.clock import utc_text
from protocols.x509.certificate import serial_text
from protocols.x509.names import subject_text

Field = tuple[str, str]


def described(product: Product) -> list[Field]:
    """Return the fields of a product with their names, its hashes last."""
    of = {"certificate": _certificate, "request": _request, "crl": _crl}[product.kind]
    return [
        *of(product.der),
        ("SHA-256 of what is signed", hashlib.sha256(product.signed).hexdigest()),
        ("SHA-256", hashlib.sha256(product.der).hexdigest()),
    ]


def _certificate(der: bytes) -> Iterator[Field]:
    certificate = x509.load_der_x509_certificate(der)
    yield "subject", subject_text(certificate.subject)
    yield "issuer", subject_text(certificate.issuer)
    yield "serial number", serial_text(certificate.serial_number)
    yield "not before", utc_text(certificate.not_valid_before_utc)
    yield "not after", utc_text(certificate.not_valid_after_utc)
    yield "public key", _key(certificate.public_key())
    yield "signature", certificate.signature_algorithm_oid._name
    for extension in certificate.extensions:
        mark = ", critical" if extension.critical else ""
        yield f"{extension.oid._name}{mark}", _value(extension.value)


def _request(der: bytes) -> Iterator[Field]:
    request = x509.load_der_x509_csr(der)
    yield "subject", subject_text(request.subject)
    yield "public key", _key(request.public_key())
    yield "signature", request.signature_algorithm_oid._name


def _crl(der: bytes) -> Iterator[Field]:
    crl = x509.load_der_x509_crl(der)
    yield "issuer", subject_text(crl.issuer)
    yield "number", str(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    yield "this update", utc_text(crl.last_update_utc)
    if crl.next_update_utc is not None:
        yield "next update", utc_text(crl.next_update_utc)
    yield "signature", crl.signature_algorithm_oid._name
    yield "entries", str(len(crl))
    for entry in crl:
        reasons = [
            one.value.reason.value for one in entry.extensions if isinstance(one.value, x509.CRLReason)
        ]
        told = f"{utc_text(entry.revocation_date_utc)} {', '.join(reasons) or 'unspecified'}"
        yield f"revoked {serial_text(entry.serial_number)}", told


def _key(public_key: object) -> str:
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return f"EC {public_key.curve.name}"
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"RSA {public_key.key_size} bits"
    return type(public_key).__name__.strip("_").removesuffix("PublicKey")


def _value(value: x509.ExtensionType) -> str:
    """Return an extension's content; of those that this program does not write, the octets."""
    if isinstance(value, x509.BasicConstraints):
        length = "" if value.path_length is None else f", path length {value.path_length}"
        return f"CA{length}" if value.ca else "not a CA"
    if isinstance(value, x509.KeyUsage):
        return ", ".join(_usages(value))
    if isinstance(value, x509.SubjectKeyIdentifier):
        return value.digest.hex()
    if isinstance(value, x509.AuthorityKeyIdentifier):
        return (value.key_identifier or b"").hex()
    if isinstance(value, x509.ExtendedKeyUsage):
        return ", ".join(one._name for one in value)
    if isinstance(value, x509.CertificatePolicies):
        return ", ".join(one.policy_identifier.dotted_string for one in value)
    if isinstance(value, x509.AuthorityInformationAccess):
        return ", ".join(f"{one.access_method._name} {one.access_location.value}" for one in value)
    if isinstance(value, x509.CRLDistributionPoints):
        return ", ".join(str(name.value) for point in value for name in point.full_name or ())
    return value.public_bytes().hex()


def _usages(value: x509.KeyUsage) -> Iterator[str]:
    names = {
        "digital_signature": "digitalSignature",
        "content_commitment": "nonRepudiation",
        "key_encipherment": "keyEncipherment",
        "data_encipherment": "dataEncipherment",
        "key_agreement": "keyAgreement",
        "key_cert_sign": "keyCertSign",
        "crl_sign": "cRLSign",
    }
    return (name for attribute, name in names.items() if getattr(value, attribute))
