"""What is answered with a signer at hand, one row a rule with its section; see also the table of the formats.

Rows of requests: what is asked, under which policies, and what comes. The requests are made with the codec,
the answers read with `cryptography`, an independent reader, and with the codec where that shows less.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from status_plane import POLICY, SHA1, StatusPlane, issuer_hashes, status_plane, verify

from config.status_policy import UnknownPolicy
from pkiserver.core import Core
from pkiserver.errors import UnavailableError
from pkiserver.signer.errors import SignerUnavailableError
from pkiserver.status.fresh import UNKNOWN_VALIDITY
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import (
    ByKey,
    CertID,
    CRLReason,
    Good,
    OCSPRequest,
    OCSPResponse,
    OCSPResponseStatus,
    Request,
    ResponseData,
    RevokedInfo,
    Signature,
    TBSRequest,
    Unknown,
    whole,
)
from protocols.asn1.pkix import NULL_PARAMETERS, AlgorithmIdentifier, Extension
from store.records import CertificateRecord

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

NEVER_ISSUED = 0x7777
NEVER_ISSUED_1970 = RevokedInfo(datetime(1970, 1, 1, tzinfo=UTC), CRLReason.CERTIFICATE_HOLD)
EXTENDED_REVOKE = Extension(oid.OCSP_EXTENDED_REVOKE, False, b"\x05\x00")
REQUESTOR = b"\xa4\x160\x141\x120\x10\x06\x03U\x04\x03\x0c\tRequestor"
UNKNOWN_EXTENSION = "1.3.6.1.4.1.99999.1"


@dataclass(frozen=True)
class Plane:
    """The status plane with one certificate that is good, one on hold, one revoked."""

    status: StatusPlane
    good: CertificateRecord
    held: CertificateRecord
    revoked: CertificateRecord

    def cert_id(
        self, serial: int, authority: str = "infrastructure", parameters: bytes | None = NULL_PARAMETERS
    ) -> CertID:
        certificate = self.status.core.authorities.get(authority).certificate
        parts = issuer_hashes(certificate, hashes.SHA256())
        return CertID(AlgorithmIdentifier(oid.SHA256, parameters), *parts, serial)


@pytest.fixture
async def plane(core: Core, issue: "Issue") -> AsyncIterator[Plane]:
    records = [await issue(core, f"{name}.example.mn") for name in ("good", "held", "revoked")]
    async with status_plane(core) as opened:
        await opened.presigner.prepare()
        await opened.change("suspend", records[1])
        await opened.change("revoke", records[2], reason="keyCompromise")
        await opened.presigner.work()
        yield Plane(opened, *records)


def nonce_of(octets: bytes, *, critical: bool = False) -> Extension:
    return Extension(oid.OCSP_NONCE, critical, der.octet_string(octets))


def asking(*cert_ids: CertID, extensions: Sequence[Extension] = (), **more: Any) -> OCSPRequest:
    return OCSPRequest(TBSRequest(tuple(map(Request, cert_ids)), tuple(extensions), **more))


@dataclass(frozen=True)
class Rule:
    """One row: what is asked, the policies, and the error or the statuses and extensions that come."""

    asks: Callable[[Plane], OCSPRequest]
    error: OCSPResponseStatus | None = None
    statuses: Sequence[type] = (Good,)
    extensions: Sequence[Extension] = ()
    echo_nonce: bool = True
    unknown: UnknownPolicy = "unauthorized"
    outcome: str = "signed"
    more: dict[str, Any] = field(default_factory=dict)


UNAUTHORIZED, MALFORMED = OCSPResponseStatus.UNAUTHORIZED, OCSPResponseStatus.MALFORMED_REQUEST
NONCE = nonce_of(bytes(range(32)))


def good(plane: Plane) -> CertID:
    return plane.cert_id(plane.good.serial)


def never_issued(plane: Plane) -> CertID:
    return plane.cert_id(NEVER_ISSUED)


def with_nonce(extension: Extension) -> Callable[[Plane], OCSPRequest]:
    return lambda plane: asking(good(plane), extensions=[extension])


def of_another_ca(plane: Plane) -> CertID:
    return CertID(AlgorithmIdentifier(oid.SHA256, NULL_PARAMETERS), bytes(32), bytes(32), plane.good.serial)


def of_the_root(plane: Plane) -> CertID:
    citizen = plane.status.core.authorities.get("citizen").certificate
    return plane.cert_id(citizen.serial_number, "root")


def signed_request(plane: Plane) -> OCSPRequest:
    request = asking(good(plane), extensions=[NONCE], requestor_name=REQUESTOR)
    return OCSPRequest(
        request.tbs_request, Signature(AlgorithmIdentifier(oid.ECDSA_WITH_SHA256), b"no signature")
    )


RULES: dict[str, Rule] = {
    "RFC 9654 §2.1 the nonce comes back": Rule(with_nonce(NONCE), extensions=[NONCE]),
    "RFC 9654 §2.1 of one octet": Rule(with_nonce(nonce_of(b"\x80")), extensions=[nonce_of(b"\x80")]),
    "RFC 9654 §2.1 of 128 octets": Rule(with_nonce(nonce_of(bytes(128))), extensions=[nonce_of(bytes(128))]),
    "RFC 9654 §2.1 an empty one is malformed": Rule(with_nonce(nonce_of(b"")), MALFORMED),
    "RFC 9654 §2.1 over 128 octets is malformed": Rule(with_nonce(nonce_of(bytes(129))), MALFORMED),
    "RFC 6960 §4.4.1 a critical one comes back uncritical": Rule(
        with_nonce(nonce_of(b"12345678", critical=True)), extensions=[nonce_of(b"12345678")]
    ),
    "RFC 9919 §3.2.1 policy ignore: the prebuilt response": Rule(
        with_nonce(NONCE), statuses=(Good, Good), echo_nonce=False, outcome="successful"
    ),
    "RFC 6960 §2.2 with a nonce: on hold is revoked": Rule(
        lambda plane: asking(plane.cert_id(plane.held.serial), extensions=[NONCE]),
        statuses=(RevokedInfo,),
        extensions=[NONCE],
    ),
    "RFC 6960 §4.1.1 several: a SingleResponse for each": Rule(
        lambda plane: asking(
            *(plane.cert_id(record.serial) for record in (plane.revoked, plane.good, plane.held))
        ),
        statuses=(RevokedInfo, Good, RevokedInfo),
        echo_nonce=False,
    ),
    "RFC 6960 §4.1.1 several and a nonce": Rule(
        lambda plane: asking(good(plane), plane.cert_id(plane.held.serial), extensions=[NONCE]),
        statuses=(Good, RevokedInfo),
        extensions=[NONCE],
    ),
    "our choice: one asked for twice is answered once": Rule(lambda plane: asking(good(plane), good(plane))),
    "our choice: several, by different parameters, are two": Rule(
        lambda plane: asking(good(plane), plane.cert_id(plane.good.serial, parameters=None)),
        statuses=(Good, Good),
    ),
    "our choice: of two authorities no responder can speak": Rule(
        lambda plane: asking(good(plane), of_the_root(plane)), UNAUTHORIZED, unknown="unknown"
    ),
    "RFC 9919 §3.2.3 several, one of an issuer not known": Rule(
        lambda plane: asking(good(plane), of_another_ca(plane)), UNAUTHORIZED, unknown="unknown"
    ),
    "our choice: several, one not issued, unauthorized for all": Rule(
        lambda plane: asking(good(plane), never_issued(plane)), UNAUTHORIZED
    ),
    "RFC 6960 §2.2 several, one unknown": Rule(
        lambda plane: asking(good(plane), never_issued(plane)),
        statuses=(Good, Unknown),
        unknown="unknown",
    ),
    "RFC 6960 §4.4.8 several, one revoked that was not issued": Rule(
        lambda plane: asking(good(plane), never_issued(plane), extensions=[NONCE]),
        statuses=(Good, RevokedInfo),
        extensions=[NONCE, EXTENDED_REVOKE],
        unknown="revoked",
    ),
    "RFC 9919 §3.2.3 not issued: unauthorized": Rule(lambda plane: asking(never_issued(plane)), UNAUTHORIZED),
    "RFC 9919 §3.2.3 not issued, with a nonce: unauthorized": Rule(
        lambda plane: asking(never_issued(plane), extensions=[NONCE]), UNAUTHORIZED
    ),
    "RFC 6960 §2.2 not issued: unknown": Rule(
        lambda plane: asking(never_issued(plane)), statuses=(Unknown,), unknown="unknown"
    ),
    "RFC 6960 §2.2 not issued: revoked, with the extension": Rule(
        lambda plane: asking(never_issued(plane)),
        statuses=(RevokedInfo,),
        extensions=[EXTENDED_REVOKE],
        unknown="revoked",
    ),
    "RFC 6960 §2.2 negative serials were not issued": Rule(
        lambda plane: asking(plane.cert_id(-5)), statuses=(Unknown,), unknown="unknown"
    ),
    "RFC 5280 §4.1.2.2 nor were those over 20 octets": Rule(
        lambda plane: asking(plane.cert_id(1 << 400)), statuses=(Unknown,), unknown="unknown"
    ),
    "RFC 9919 §3.2.3 unknown issuer: unauthorized whatever the policy": Rule(
        lambda plane: asking(of_another_ca(plane)), UNAUTHORIZED, unknown="revoked"
    ),
    "RFC 9919 §3.2.3 unknown issuer, with a nonce": Rule(
        lambda plane: asking(of_another_ca(plane), extensions=[NONCE]), UNAUTHORIZED, unknown="unknown"
    ),
    "RFC 6960 §2.2 issued: prebuilt whatever the policy": Rule(
        lambda plane: asking(good(plane)), statuses=(Good, Good), unknown="revoked", outcome="successful"
    ),
    "RFC 9919 §3.1.2 signed, with requestorName and a nonce": Rule(signed_request, extensions=[NONCE]),
    "RFC 6960 §4.1.2 unknown extensions are ignored": Rule(
        lambda plane: asking(
            good(plane), extensions=[Extension(UNKNOWN_EXTENSION, False, b"\x05\x00"), NONCE]
        ),
        extensions=[NONCE],
    ),
    "RFC 6960 §4.1.2 unless critical": Rule(
        lambda plane: asking(good(plane), extensions=[Extension(UNKNOWN_EXTENSION, True, b""), NONCE]),
        MALFORMED,
    ),
    "RFC 6960 §4.4.3 acceptable responses, with a nonce": Rule(
        lambda plane: asking(
            good(plane),
            extensions=[Extension(oid.OCSP_RESPONSE, True, der.sequence(der.oid(oid.OCSP_BASIC))), NONCE],
        ),
        extensions=[NONCE],
    ),
    "RFC 5754 §2 absent parameters come back absent": Rule(
        lambda plane: asking(plane.cert_id(plane.good.serial, parameters=None), extensions=[NONCE]),
        extensions=[NONCE],
    ),
}


def parsed(body: bytes) -> tuple[OCSPResponseStatus, ResponseData | None]:
    response = whole(body, OCSPResponse.parse)
    assert response.encode() == body
    return response.response_status, response.response.response_data() if response.response else None


@pytest.mark.parametrize("rule", RULES)
async def test_answer(plane: Plane, clock: "FakeClock", rule: str) -> None:
    row = RULES[rule]
    request = row.asks(plane)
    responder = plane.status.signing_responder(echo_nonce=row.echo_nonce, unknown=row.unknown)
    reply = await plane.status.post(responder, request.encode())
    status, data = parsed(reply.body)
    if row.error is not None:
        assert status is row.error
        assert b"no-store" in reply.fields
        return
    assert status is OCSPResponseStatus.SUCCESSFUL
    assert data is not None
    assert reply.outcome == row.outcome
    verify(plane.status.core, ocsp.load_der_ocsp_response(reply.body))
    assert [type(single.cert_status) for single in data.responses] == list(row.statuses)
    assert list(data.response_extensions) == list(row.extensions)
    assert isinstance(data.responder_id, ByKey)
    if row.outcome == "signed":
        asked = dict.fromkeys(single.req_cert for single in request.tbs_request.request_list)
        assert [single.cert_id for single in data.responses] == list(asked)
    assert all(single.single_extensions == () for single in data.responses)
    assert data.produced_at == clock.now()
    for single in data.responses:
        issued = single.cert_id.serial_number in {
            one.serial for one in (plane.good, plane.held, plane.revoked)
        }
        validity = POLICY.validity if issued else UNKNOWN_VALIDITY
        assert (single.this_update, single.next_update) == (clock.now(), clock.now() + validity)
        if not issued and isinstance(single.cert_status, RevokedInfo):
            assert single.cert_status == NEVER_ISSUED_1970
    assert b"Cache-Control: max-age=60, public, no-transform, must-revalidate\r\n" in reply.fields
    assert b"no-store" not in reply.fields


async def test_it_says_what_the_table_says(plane: Plane, clock: "FakeClock") -> None:
    """After every change, and before the presigner has seen it."""
    responder = plane.status.signing_responder()
    for action in ("suspend", "restore", "revoke"):
        clock.advance(timedelta(minutes=1))
        await plane.status.change(action, plane.good)
        reply = await plane.status.post(responder, asking(good(plane), extensions=[NONCE]).encode())
        said = next(iter(ocsp.load_der_ocsp_response(reply.body).responses))
        await plane.status.presigner.work()
        table = next(iter(plane.status.ask(plane.good.serial).responses))
        for name in ("certificate_status", "revocation_time_utc", "revocation_reason"):
            assert getattr(said, name) == getattr(table, name)


async def test_issued_a_moment_ago_is_good_and_not_unknown(plane: Plane, issue: "Issue") -> None:
    record = await issue(plane.status.core, "new.example.mn")
    responder = plane.status.signing_responder(unknown="revoked")
    reply = await plane.status.post(responder, asking(plane.cert_id(record.serial)).encode())
    single = next(iter(ocsp.load_der_ocsp_response(reply.body).responses))
    assert single.certificate_status is ocsp.OCSPCertStatus.GOOD


async def test_it_does_not_outlive_the_responder(plane: Plane, clock: "FakeClock") -> None:
    responder = plane.status.core.authorities.responder(plane.good.authority)
    assert responder is not None
    end = responder.certificate.not_valid_after_utc
    clock.moment = end - timedelta(seconds=1)
    body = await plane.status.fresh(unknown="unknown").respond(
        asking(good(plane), never_issued(plane)).encode()
    )
    assert body is not None
    _, data = parsed(body)
    assert data is not None
    assert {single.next_update for single in data.responses} == {end}
    clock.moment = end
    assert await plane.status.fresh().respond(asking(good(plane)).encode()) is None


async def test_without_a_responder_the_keyless_answer_is_given(plane: Plane) -> None:
    """As for an authority whose key is kept outside, once it has a table."""
    plane.status.core.authorities._responders = []
    responder = plane.status.signing_responder(unknown="unknown")
    post = plane.status.post
    prebuilt = await post(responder, asking(good(plane)).encode())
    assert (await post(responder, asking(good(plane), extensions=[NONCE]).encode())).body == prebuilt.body
    for request in (asking(good(plane), never_issued(plane)), asking(never_issued(plane))):
        assert parsed((await post(responder, request.encode())).body)[0] is UNAUTHORIZED


@pytest.mark.parametrize(
    "failure", [SignerUnavailableError("hangs"), UnavailableError("the store cannot be read now")]
)
async def test_what_cannot_be_signed_now_is_to_be_tried_later(
    plane: Plane, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Any:
        raise failure

    core = plane.status.core
    where = (core.signer, "sign") if isinstance(failure, SignerUnavailableError) else (core.storage, "read")
    monkeypatch.setattr(*where, fail)
    responder = plane.status.signing_responder()
    reply = await plane.status.post(responder, asking(good(plane), extensions=[NONCE]).encode())
    assert parsed(reply.body)[0] is OCSPResponseStatus.TRY_LATER
    assert b"no-store" in reply.fields
    assert (await plane.status.post(responder, asking(good(plane)).encode())).outcome == "successful"


@pytest.mark.parametrize("algorithm", [SHA1, hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
async def test_cert_ids_by_the_configured_hashes(
    core: Core, issue: "Issue", algorithm: hashes.HashAlgorithm
) -> None:
    """RFC 6960 §4.1.1: prebuilt and signed answers; by others nothing is known."""
    record = await issue(core)
    for names, known in ((["sha1", "sha256", "sha384", "sha512"], True), (["sha1"], algorithm is SHA1)):
        async with status_plane(
            core, core.home.path / f"table-{known}-{len(names)}", hash_names=names
        ) as plane:
            await plane.presigner.prepare()
            want = OCSPResponseStatus.SUCCESSFUL if known else UNAUTHORIZED
            request = plane.request("infrastructure", record.serial, algorithm)
            assert parsed(plane.answer(request))[0] is want
            body = await plane.fresh().respond(request)
            assert body is not None
            assert parsed(body)[0] is want
