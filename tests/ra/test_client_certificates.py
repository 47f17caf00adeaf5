"""Client certificates of ours are verified once, and only those are remembered."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.ca.authorities import Authorities
from pkiserver.core import Core
from pkiserver.ra import client_certificates as module


def foreign() -> bytes:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=foreign")
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


async def test_verified_once(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, ours = core.client_certificates, core.authorities.get("infrastructure").der
    first = reader.read(ours)
    assert first.issuer is not None
    altered = ours[:-1] + bytes([ours[-1] ^ 1])

    def refuse(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(Authorities, "issuer_of", refuse)
        assert reader.read(ours) == first
        with pytest.raises(AssertionError):
            reader.read(altered)
    assert reader.read(altered).issuer is None
    for _ in range(2):
        assert reader.read(foreign()).issuer is None


async def test_what_is_remembered_is_bounded(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 1)
    names = ("infrastructure", "citizen", "government")
    for name in (*names, *names):
        found = core.client_certificates.read(core.authorities.get(name).der)
        assert found.issuer == core.authorities.get("root")
