"""OpenSSL reads the certs-only messages of EST."""

import base64
import subprocess
from pathlib import Path

import pytest
from asn1crypto import cms

from protocols.est.response import certs_only

VECTORS = Path(__file__).parent.parent / "vectors" / "est"


@pytest.mark.interop
def test_openssl_prints_every_certificate() -> None:
    example = base64.b64decode((VECTORS / "rfc7030_a_1_cacerts.b64").read_bytes())
    certificates = [choice.dump() for choice in cms.ContentInfo.load(example)["content"]["certificates"]]

    printed = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print_certs", "-noout"],
        input=certs_only(certificates),
        capture_output=True,
        check=True,
    ).stdout.decode()

    subjects = {line for line in printed.splitlines() if line.startswith("subject=")}
    assert subjects == {f"subject=CN = estExampleCA {way}" for way in ("OwO", "NwO", "OwN", "NwN")}
