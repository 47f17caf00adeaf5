"""What an enrolment leaves in memory: nothing, whether its connection is kept or new."""

import asyncio
import base64
import functools
import gc
import ssl
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateSigningRequestBuilder
from https_harness import listening, make_certificates

from pkiserver.core import Core
from pkiserver.web.est import est_routes
from protocols.x509.names import parse_subject

SUBJECT = "CN=sensor-7"
WARM_UP = 8  # what is made once, or kept for a profile, is there after these
WATCHED = 40
SWEPT = {"weakref.ReferenceType"}  # of sqlite3 to cursors: the dead ones go at every 200th


def _kinds() -> Counter[str]:
    """Count by type what the garbage collector knows, once every cache that has a bound was emptied."""
    for cache in [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]:
        if cache.cache_parameters()["maxsize"] is not None:
            cache.cache_clear()
    gc.collect()
    return Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())


async def _settle() -> None:
    """Let connections end, and the loop drop its cancelled timers: it does when most of many are."""
    await asyncio.sleep(0.05)
    for _ in range(1_000):
        asyncio.get_running_loop().call_later(3600, int).cancel()
    await asyncio.sleep(0)


class _Client:
    """Enrols with one credential, each time for a new key."""

    def __init__(self, port: int, tls: ssl.SSLContext, userinfo: str) -> None:
        self._port = port
        self._tls = tls
        self._basic = base64.b64encode(userinfo.encode()).decode()

    async def enroll(self, times: int, *, kept: bool) -> None:
        for _ in range(1 if kept else times):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=self._tls, server_hostname="localhost"
            )
            for _ in range(times if kept else 1):
                writer.write(self._request())
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
            writer.close()
            await writer.wait_closed()

    def _request(self) -> bytes:
        csr = CertificateSigningRequestBuilder().subject_name(parse_subject(SUBJECT))
        signed = csr.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        body = base64.b64encode(signed.public_bytes(Encoding.DER)).decode()
        return (
            "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/pkcs10\r\nAuthorization: Basic {self._basic}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "new"])
async def test_an_enrolment_leaves_nothing(core: Core, tmp_path: Path, *, kept: bool) -> None:
    credential = await core.credentials.create(
        profile="device", subject=SUBJECT, san=(), limit_mnt=None, uses=1_000, lifetime=None, actor="test"
    )
    certificates = make_certificates(tmp_path)
    async with listening(est_routes(core.enrollment), certificates) as listener:
        _, port = listener.address
        client = _Client(port, certificates.client_context(), f"{credential.reference}:{credential.secret}")
        await client.enroll(WARM_UP, kept=kept)
        await _settle()
        before = _kinds()
        await client.enroll(WATCHED, kept=kept)
        await _settle()
        grown = {kind: count - before[kind] for kind, count in _kinds().items()}
    assert {kind: more for kind, more in grown.items() if more >= WATCHED // 2 and kind not in SWEPT} == {}
