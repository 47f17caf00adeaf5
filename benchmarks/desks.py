"""What a registrar's software needs of a home to be measured: a certificate, and no bound of its rate."""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.identity import Identity
from pkiserver.core import Core
from pkiserver.home import Home
from protocols.x509.names import parse_subject

REGISTRAR: Final = "999999999999"  # the civil id of who asks: nobody of those who apply


def without_limits(home: Home) -> None:
    """Let one actor ask the API as often as the server answers."""
    text = home.configuration.read_text().replace("rate = 20\n", "rate = 10000\n")
    home.configuration.write_text(text.replace("burst = 100\n", "burst = 100000\n"))


async def registrar_certificate(core: Core, folder: Path) -> str:
    """Put a registrar's certificate with its key into a folder; return the certificate (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = AuthorizedRequest(
        profile=core.profiles["administrator"],
        authority="infrastructure",
        identity=Identity(parse_subject("CN=registrar"), ()),
        public_key=key.public_key(),
        requested_by="bench",
    )
    record = await core.issuance.issue(await core.issuance.prepare(request))
    pem = x509.load_der_x509_certificate(record.certificate).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "registrar.pem").write_bytes(pem + private)
    return pem.decode()
