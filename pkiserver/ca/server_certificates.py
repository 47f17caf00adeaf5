"""The server's own certificates: of the HTTPS server, and the administrator's first one.

Their keys are made here, not in the signer: the first lives where TLS ends, the second is handed over.
"""

import ipaddress
import secrets
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from config.hierarchy import INFRASTRUCTURE
from pkiserver.ca.ca_certificates import sent_chain
from pkiserver.ca.identity import approve_identity
from pkiserver.ca.own_certificates import Attempts, CAServices, renewal_due
from pkiserver.home import PRIVATE_FILE_MODE, Home, write_file
from pkiserver.progress import Progress, silent
from protocols.x509.distinguished_names import UB_COMMON_NAME
from protocols.x509.names import parse_san, parse_subject

TLS_PROFILE: Final = "tls-server"
ADMINISTRATOR_PROFILE: Final = "administrator"
PASSWORD_OCTETS: Final = 18


class ServerCertificates:
    """Makes and renews what the server needs under the authority `infrastructure`."""

    def __init__(self, services: CAServices, home: Home) -> None:
        self._services = services
        self._authorities = services.authorities
        self._home = home

    async def maintain(self, progress: Progress = silent) -> bool:
        """Make or renew what is due; True when anything was made.

        One certificate that cannot be made does not hold up the other; `UnavailableError` names each.
        """
        if not self._authorities.has(INFRASTRUCTURE):
            return False
        attempts = Attempts()
        if not (self._home.administrator / "administrator.p12").exists():
            name = "certificate of the administrator"
            progress(name)
            await attempts.attempt(name, self._make_administrator())
        if self._tls_due():
            name = "certificate of the HTTPS server"
            progress(name)
            await attempts.attempt(name, self._make_tls_certificate())
        return attempts.finish()

    def _tls_due(self) -> bool:
        certificate = server_certificate(self._home)
        if certificate is None:
            return True
        issued_by = self._authorities.issuer_of(certificate)
        if issued_by is not None and issued_by.state == "compromised":
            return self._authorities.get(INFRASTRUCTURE).state == "active"
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issuer = self._authorities.get(INFRASTRUCTURE).certificate
        return set(names) != set(self._server_names()) or renewal_due(
            certificate, issuer, self._services.clock.now()
        )

    def _server_names(self) -> tuple[x509.GeneralName, ...]:
        return tuple(parse_san(server_san(name)) for name in self._services.settings.tls.server_names)

    async def _make_tls_certificate(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = self._services.settings.tls.server_names[0]
        subject = parse_subject(f"CN={name}") if len(name) <= UB_COMMON_NAME else x509.Name([])
        own = await self._issue(TLS_PROFILE, subject, self._server_names(), key.public_key())
        chain = [own, *sent_chain(self._authorities, INFRASTRUCTURE)]
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem += b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
        write_file(self._home.tls / "server.pem", pem, PRIVATE_FILE_MODE)

    async def _make_administrator(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = parse_subject("CN=Administrator")
        certificate = await self._issue(ADMINISTRATOR_PROFILE, subject, (), key.public_key())
        chain = [known.certificate for known in self._authorities.chain(INFRASTRUCTURE)]
        password = secrets.token_urlsafe(PASSWORD_OCTETS).encode()
        encryption = BestAvailableEncryption(password)
        folder = self._home.administrator
        pem = certificate.public_bytes(Encoding.PEM)
        pem += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        bundle = pkcs12.serialize_key_and_certificates(b"Administrator", key, certificate, chain, encryption)
        write_file(folder / "password", password + b"\n", PRIVATE_FILE_MODE)
        write_file(folder / "administrator.pem", pem, PRIVATE_FILE_MODE)
        write_file(folder / "administrator.p12", bundle, PRIVATE_FILE_MODE)

    async def _issue(
        self,
        profile: str,
        subject: x509.Name,
        san: tuple[x509.GeneralName, ...],
        public_key: ec.EllipticCurvePublicKey,
    ) -> x509.Certificate:
        """Issue what the profile makes of these names: its holder can re-enrol it."""
        identity = approve_identity(
            self._services.profiles[profile],
            approved_subject=subject,
            approved_san=san,
            requested_subject=subject,
        )
        return await self._services.issue(
            profile, INFRASTRUCTURE, identity, public_key, until_issuer_ends=True
        )


def server_certificate(home: Home) -> x509.Certificate | None:
    """Return the certificate of the HTTPS server, None where there is none that can be read."""
    try:
        return x509.load_pem_x509_certificates((home.tls / "server.pem").read_bytes())[0]
    except (FileNotFoundError, ValueError):
        return None


def server_san(name: str) -> str:
    """Return a server name of the configuration as a subjectAltName text."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"dns:{name}"
    return f"ip:{name}"
