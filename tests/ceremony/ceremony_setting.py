"""The setting of a ceremony: its file, the operators and what they sign."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from pkiserver.ceremony.inputs import read_ceremony
from pkiserver.ceremony.performing import Approval, perform, rehearse
from pkiserver.ceremony.quorum import read_register
from pkiserver.ceremony.signed_once import Product
from pkiserver.ceremony.transcript import Section
from pkiserver.clock import Clock

NAMES = ("Bold", "Saran", "Tuya")
STORE = 'store = { folder = "keys", passphrase_file = "pass" }'
HEAD = """title = "Root of 2026"
public_url = "http://pki.example.mn"
witnesses = ["Bold", "Saran"]
"""
ROOT = """
[keys]
root = { kind = "ec:P-384" }
citizen = { kind = "ec:P-256" }
transcript = { kind = "ec:P-256" }

[requests.citizen]
key = "citizen"
subject = "CN=Citizen CA,O=Agency,C=MN"

[certificates.root]
profile = "root-ca"
key = "root"
subject = "CN=Root CA,O=Agency,C=MN"
lifetime = "20y"

[certificates.citizen]
profile = "issuing-ca"
issuer = "root"
key = "citizen"
subject = "CN=Citizen CA,O=Agency,C=MN"
lifetime = "10y"
ocsp = false

[certificates.transcript]
profile = "ceremony-transcript"
issuer = "root"
key = "transcript"
subject = "CN=Ceremony of 2026,O=Agency,C=MN"
lifetime = "1y"

[crls.root]
issuer = "root"
number = 1
lifetime = "180d"

[transcript]
certificate = "transcript"
"""


SECOND = """
[keys]
root = {{ kind = "ec:P-384", existing = true }}
second = {{ kind = "ec:P-256" }}
[known.root]
certificate = {root}
key = "root"
[certificates.second]
profile = "ceremony-transcript"
issuer = "root"
lifetime = "1y"
key = "second"
subject = "CN=Second ceremony"
{more}
[transcript]
certificate = "second"
"""  # by the root of an earlier one


@dataclass
class Operator:
    """A person with a key and a certificate, of their own or of an issuer's making."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    begins: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(days=1))
    days: int = 30
    issuer: "Operator | None" = None

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)])
        issuer, key = (self.issuer.certificate.subject, self.issuer.key) if self.issuer else (name, self.key)
        builder = x509.CertificateBuilder(issuer, name, self.key.public_key(), x509.random_serial_number())
        ends = self.begins + timedelta(days=self.days)
        builder = builder.not_valid_before(self.begins).not_valid_after(ends)
        if self.issuer is None:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(key, SHA256())

    def sign(self, content: bytes) -> bytes:
        """Return a detached CMS signature, as an operator's program makes it."""
        builder = PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(self.certificate, self.key, SHA256())
        return builder.sign(Encoding.DER, [PKCS7Options.DetachedSignature, PKCS7Options.Binary])


class Setting:
    """A folder with a ceremony's file, its passphrase and the register of three operators, two to sign."""

    def __init__(self, folder: Path, text: str = ROOT, store: str = STORE) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.operators = [Operator(name) for name in NAMES]
        self.register(self.operators)
        passphrase = folder / "pass"
        passphrase.write_text("a passphrase of the keys\n")
        passphrase.chmod(0o600)
        self.path = folder / "root.toml"
        self.write(HEAD + store + "\n" + text)

    def register(self, operators: list[Operator], quorum: int = 2, *more: str) -> None:
        lines = [f"quorum = {quorum}", *more]
        for one in operators:
            path = self.folder / f"{one.name}.pem"
            path.write_bytes(one.certificate.public_bytes(Encoding.PEM))
            lines += ["[[operators]]", f'name = "{one.name}"', f'certificate = "{path.name}"']
        (self.folder / "operators.toml").write_text("\n".join(lines) + "\n")

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.signatures = [one.sign(self.path.read_bytes()) for one in self.operators[:2]]

    def pinned(self, name: str, content: bytes) -> str:
        """Put a file beside the ceremony's; return what names it there."""
        (self.folder / name).write_bytes(content)
        return f'{{ file = "{name}", sha256 = "{hashlib.sha256(content).hexdigest()}" }}'

    def rehearse(self) -> list[Section]:
        return rehearse(read_ceremony(self.path), "user:ann", Clock(), lambda _product: None)

    def perform(self, output: Path, signatures: list[bytes] | None = None) -> list[Product]:
        made: list[Product] = []
        register = read_register(self.folder / "operators.toml")
        approval = Approval(register, self.signatures if signatures is None else signatures)
        perform(read_ceremony(self.path), approval, output, "user:ann", Clock(), made.append)
        return made


def certificate(path: Path) -> x509.Certificate:
    return x509.load_der_x509_certificate(path.read_bytes())
