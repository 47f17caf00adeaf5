"""CMP: transactions a CPU second of a real server, ir with implicitConfirm over kept-alive HTTP.

Every message is made beforehand, with a transactionID, a nonce and a key of its own; what is signed is signed
by another device each time, which its manufacturer certified. Every answer is looked at afterwards, and the
certificates in the store must be those that were acknowledged.
"""

import asyncio
import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from benchmarks.est_server import descendants, new_credentials, started
from benchmarks.figures import Figure
from benchmarks.processes import cpu_s
from pkiserver.home import Home
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import CertRepMessage
from protocols.cmp.crmf import (
    CertReqMsg,
    CertTemplate,
    POPOSigningKey,
    build_cert_req_messages,
    build_cert_request,
)
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.general_name import general_name
from protocols.cmp.header import PKIHeader
from protocols.cmp.mac import PBMParameter
from protocols.cmp.message import finish_message, parse_pki_message, protected_part_of
from protocols.cmp.protection import mac_protected
from store.database import read_only

AIM: Final = 300  # transactions a CPU second
ITERATIONS: Final = 500  # what `openssl cmp` names
MOST_A_SECOND: Final = 1_200  # messages made beforehand for a second of load
CLIENTS: Final = 64
WARMING_S: Final = 1
ROUNDS: Final = 5  # the figure is their median: neighbours disturb some, and later ones have a fuller store
PROFILE: Final = """
description = "A machine that its manufacturer numbered"
issuer = "infrastructure"
lifetime = "90d"
keys = ["ec:P-256"]
key_usage = ["digitalSignature"]
extended_key_usage = ["clientAuth"]
est_authentication = ["certificate"]
trusted_issuers = ["manufacturer.pem"]
subject = [{ attribute = "serialNumber", source = "credential" }]
policies = [{ oid = "1.3.6.1.4.1.32473.2.1" }]
"""
_ECDSA: Final = AlgorithmIdentifier(oid.ECDSA_WITH_SHA256)
_SHA256: Final = ec.ECDSA(SHA256())


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _ir(subject: x509.Name) -> PKIBody:
    """Return a request for a new key, which proves itself."""
    key = _new_key()
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    asked = build_cert_request(0, CertTemplate(subject=subject.public_bytes(), public_key=spki))
    proof = POPOSigningKey(_ECDSA, key.sign(asked.der, _SHA256))
    return PKIBody(BodyType.IR, build_cert_req_messages([CertReqMsg(asked, proof)]))


def _header(sender: x509.Name, sender_kid: bytes) -> PKIHeader:
    return PKIHeader(
        sender=general_name(sender.public_bytes()),
        sender_kid=sender_kid,
        message_time=datetime.now(UTC).replace(microsecond=0),
        protection_alg=_ECDSA,
        transaction_id=secrets.token_bytes(16),
        sender_nonce=secrets.token_bytes(16),
        general_info=GeneralInfo(implicit_confirm=True).infos(),
    )


def message_by_mac(reference: str, secret: str) -> bytes:
    """Return an ir that a PasswordBasedMac protects, with a salt of its own."""
    parameters = PBMParameter(
        os.urandom(16),
        AlgorithmIdentifier(oid.SHA256),
        ITERATIONS,
        AlgorithmIdentifier(oid.HMAC_WITH_SHA256),
    )
    name = x509.Name.from_rfc4514_string("CN=bench")
    header = _header(name, reference.encode())
    return mac_protected(header, _ir(name), parameters.key_of(secret.encode()))


class Manufacturer:
    """Certifies devices, which enrol by that."""

    def __init__(self) -> None:
        self._key = _new_key()
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Manufacturer")])
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )

    def equip(self, home: Home) -> None:
        """Have a home trust it for one profile."""
        home.profiles.mkdir(exist_ok=True)
        (home.profiles / "machine.toml").write_text(PROFILE)
        (home.path / "manufacturer.pem").write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def signed_message(self, number: int) -> bytes:
        """Return an ir that a new device signs."""
        key = _new_key()
        name = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, f"A-{number}")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            self._builder(name, key.public_key())
            .add_extension(identifier, critical=False)
            .sign(self._key, SHA256())
        )
        part = protected_part_of(_header(name, identifier.digest), _ir(name))
        return finish_message(part, key.sign(part, _SHA256), [certificate.public_bytes(Encoding.DER)])

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=public_key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=10),
        )


@dataclass
class CMPServer:
    """A started server, and who is asked for messages to it."""

    home: Home
    folder: Path
    pids: Sequence[int]
    port: int

    def a_cpu_second(self, messages: Sequence[bytes], seconds: float) -> list[float]:
        """Return of each round how many certificates were acknowledged a CPU second; each was stored."""
        (self.folder / "messages").write_bytes(b"".join(base64.b64encode(one) + b"\n" for one in messages))
        asked = len(self._load(0, WARMING_S)) + CLIENTS
        rates = []
        for _ in range(ROUNDS):
            answered, used = self._round(asked, seconds / ROUNDS)
            asked += answered + CLIENTS  # those that were under way at its end
            rates.append(answered / used)
        return rates

    def _round(self, skip: int, seconds: float) -> tuple[int, float]:
        before, cpu_before = self._stored(), cpu_s(self.pids)
        answered = self._load(skip, seconds)
        used = cpu_s(self.pids) - cpu_before
        if self._stored() - before != answered:
            raise RuntimeError("the certificates in the store are not those that were acknowledged")
        return len(answered), used

    def _load(self, skip: int, seconds: float) -> set[bytes]:
        """Send messages and return the certificates of the answers."""
        paths = [str(self.folder / name) for name in ("messages", "answers")]
        flags = ["--skip", str(skip), "--seconds", str(seconds), "--clients", str(CLIENTS)]
        command = [sys.executable, "-m", "benchmarks.cmp_load", str(self.port), *paths, *flags]
        subprocess.run(command, check=True, capture_output=True)
        lines = (self.folder / "answers").read_bytes().splitlines()
        certificates = {certificate_of(base64.b64decode(line)) for line in lines}
        if len(certificates) != len(lines):
            raise RuntimeError("two answers hold one certificate")
        return certificates

    def _stored(self) -> set[bytes]:
        rows = read_only(self.home.database, lambda tx: tx.all("SELECT certificate FROM certificates"))
        return {row[0] for row in rows or ()}


def certificate_of(answer: bytes) -> bytes:
    """Return the certificate of an ip with one response, which implicitConfirm ends."""
    message = parse_pki_message(answer)
    if message.body.tag is not BodyType.IP:
        raise RuntimeError(f"an answer was {message.body!r}")
    (response,) = der.whole(message.body.content_der, CertRepMessage.parse).response
    pair = response.certified_key_pair
    if pair is None or pair.certificate is None:
        raise RuntimeError(f"a request was refused: {response.status}")
    if GeneralInfo(implicit_confirm=True).infos() != message.header.general_info:
        raise RuntimeError("implicitConfirm was not granted")
    return pair.certificate


def run(folder: Path, seconds: int) -> list[Figure]:
    """Measure both kinds of protection, each on a server of its own."""
    count = (seconds + WARMING_S) * MOST_A_SECOND + (ROUNDS + 1) * CLIENTS
    maker = Manufacturer()

    def by_signature(_home: Home) -> Sequence[Callable[[], bytes]]:
        return [partial(maker.signed_message, number) for number in range(count)]

    def by_mac(home: Home) -> Sequence[Callable[[], bytes]]:
        found = asyncio.run(new_credentials(home, count, use="cmp"))
        uses = (found[number % len(found)] for number in range(count))
        return [partial(message_by_mac, one["reference"], one["secret"]) for one in uses]

    figures = []
    for name, made in (("a signature", by_signature), (f"PBM, {ITERATIONS} iterations", by_mac)):
        with started(folder / made.__name__, "ec:P-256", maker.equip) as (home, pid, ports):
            server = CMPServer(home, folder / made.__name__, descendants(pid), ports["http"])
            rates = server.a_cpu_second([make() for make in made(home)], seconds)
        rate = median(rates)
        what = f"ir protected by {name}, P-256 CA: transactions a CPU second"
        beside = f"{1e6 / rate:.0f} µs each; rounds of {min(rates):.0f} to {max(rates):.0f}"
        figures.append(Figure(what, f"{rate:.0f}", beside, None, f">= {AIM}", rate >= AIM))
    return figures
