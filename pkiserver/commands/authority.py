"""Commands on the authorities."""

from collections.abc import Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ca.authorities import Authorities, Authority
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from protocols.x509.certificate import serial_text
from protocols.x509.names import subject_text
from store.records import AuthorityRecord


async def list_authorities(services: CommandServices, _caller: Caller, /) -> list[dict[str, Any]]:
    return [
        _authority(services.authorities, services.authorities.with_id(record.id))
        if record.certificate
        else {"name": services.authorities.shown_name(record), "state": _without_certificate(record)}
        for record in services.authorities.records
    ]


async def show_authority(services: CommandServices, _caller: Caller, /, *, name: str) -> dict[str, Any]:
    authority = services.authorities.get(name)
    responder = services.authorities.responder(authority.id)
    crl = services.crl_publisher.latest(authority.handle)
    return _authority(services.authorities, authority) | {
        "serial": serial_text(authority.certificate.serial_number),
        "sha256": authority.certificate.fingerprint(SHA256()).hex(),
        "responder_not_after": responder.certificate.not_valid_after_utc.isoformat() if responder else None,
        "crl_number": crl.number if crl else None,
        "crl_this_update": crl.this_update.isoformat() if crl else None,
        "crl_next_update": crl.next_update.isoformat() if crl else None,
        "pem": authority.certificate.public_bytes(Encoding.PEM).decode(),
    }


async def export_authority(
    services: CommandServices, _caller: Caller, /, *, name: str, chain: bool
) -> dict[str, Any]:
    found = services.authorities.chain(name) if chain else [services.authorities.get(name)]
    return {"certificates": [a.certificate.public_bytes(Encoding.PEM).decode() for a in found]}


async def authority_csr(services: CommandServices, caller: Caller, /, *, name: str) -> dict[str, Any]:
    request = x509.load_der_x509_csr(await services.outside_root.csr(name, caller.actor))
    return {"pem": request.public_bytes(Encoding.PEM).decode()}


def _one_certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise RefusedError("the file holds no certificate in PEM") from error


async def import_link(services: CommandServices, caller: Caller, /, *, pem: str) -> dict[str, Any]:
    """Take a link between two keys of an outside root, and hand it out with them."""
    subject, issuer = await services.outside_root.import_link(_one_certificate(pem), caller.actor)
    await services.crl_publisher.restore_files()  # the links are in the file of the root's certificates
    services.on_authorities_changed()
    return {"of": subject.exact, "by": issuer.exact}


async def import_authority(
    services: CommandServices, caller: Caller, /, *, name: str, pem: str
) -> dict[str, Any]:
    certificate = _one_certificate(pem)
    await services.outside_root.import_certificate(name, certificate, caller.actor)
    await services.hierarchy.maintain(caller.progress)
    await services.server_certificates.maintain(caller.progress)
    await services.crl_publisher.restore_files()  # its certificate, where AIA points
    services.on_authorities_changed()
    return _authority(services.authorities, services.authorities.get(name))


def _authority(known: Authorities, authority: Authority) -> dict[str, Any]:
    certificate = authority.certificate
    return {
        "name": known.shown_name(authority),
        "state": _state(authority),
        "subject": subject_text(certificate.subject),
        "parent": authority.parent,
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def _without_certificate(record: AuthorityRecord) -> str:
    return "dropped" if record.state == "dropped" else "waits for its certificate"


def _state(authority: Authority) -> str:
    if authority.state == "active":
        return "ready" if authority.key_label is not None else "kept outside"
    return authority.state


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "ca.list": CommandEntry(list_authorities, reading=True),
    "ca.show": CommandEntry(show_authority, reading=True),
    "ca.export": CommandEntry(export_authority, reading=True),
    "ca.csr": CommandEntry(authority_csr),
    "ca.import": CommandEntry(import_authority),
    "ca.import_link": CommandEntry(import_link),
}
