"""fullcmc over a real TLS listener: statuses of HTTP and CMC, what is audited, what is delivered."""

import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from https_harness import Certificates, FakeService, Reply, curl, listening, make_certificates

from pkiserver.errors import (
    NotAuthorizedError,
    NotLinkedError,
    PendingError,
    PKIServerError,
    RefusedError,
    UnavailableError,
)
from pkiserver.ra.cmc import Answer, NotServedError, Outcome
from pkiserver.ra.requester import Requester
from pkiserver.web.est_cmc import cmc_routes
from protocols.asn1 import der
from protocols.cmc.controls import RequestControls, read_controls
from protocols.cmc.pki_response import PKIResponse
from protocols.cmc.status import CMCFailInfo, CMCStatus, CMCStatusInfo, PendInfo
from protocols.errors import BadPOPError, BadSignatureError, ErrorKind, ProtocolError

pytestmark = pytest.mark.interop

NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
MESSAGE = b"\x30\x03\x02\x01\x05"


class Records(FakeService):
    """Remembers as whom refusals were audited."""

    actors: list[str]

    async def refused(self, *, operation: str, peer: str, reason: str, actor: str = "anonymous") -> None:
        self.peers.append(peer)
        self.refusals.append((operation, reason))
        self.actors = [*getattr(self, "actors", []), actor]


@dataclass
class CMC:
    """Answers what the test says, "signed" by nobody."""

    outcomes: tuple[Outcome, ...] = ()
    failing: PKIServerError | None = None
    asked: list[tuple[bytes, Requester, str | None]] = field(default_factory=list)

    async def answer(self, message: bytes, requester: Requester, label: str | None) -> Answer:
        self.asked.append((message, requester, label))
        if self.failing:
            raise self.failing
        controls = RequestControls(transaction_id=7, sender_nonce=b"theirs")
        return Answer(self.outcomes, NOW, controls, "certificate:1")

    async def sign(self, response: PKIResponse, certificates: Sequence[bytes]) -> bytes:
        return response.encode() + b"".join(certificates)


@dataclass
class Served:
    cmc: CMC
    records: Records
    ask: "Ask"


@dataclass
class Ask:
    url: str
    root: Path

    async def __call__(self, path: str = "fullcmc", content_type: str = "application/pkcs7-mime") -> Reply:
        given = ("--data-binary", "@-", "-H", f"Content-Type: {content_type}", "--cacert", self.root)
        return await curl(f"{self.url}/{path}", *given, body=base64.b64encode(MESSAGE))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def served(certificates: Certificates) -> AsyncIterator[Served]:
    cmc, records = CMC(), Records(b"")
    async with listening(cmc_routes(cmc, records), certificates) as listener:
        url = f"https://localhost:{listener.address[1]}/.well-known/est"
        yield Served(cmc, records, Ask(url, certificates.ca.certificate_file))


def status_of(reply: Reply) -> CMCStatusInfo:
    assert reply.headers["content-type"] == "application/pkcs7-mime; smime-type=CMC-response"
    reader = der.Reader(base64.b64decode(reply.body))
    controls = read_controls(PKIResponse.parse(reader).control_sequence)
    assert (controls.transaction_id, controls.recipient_nonce) == (7, b"theirs")
    assert controls.status_info_v2 is not None
    return controls.status_info_v2


async def test_success_is_delivered(served: Served) -> None:
    served.cmc.outcomes = (Outcome((1,), b"\x05\x00"),)
    reply = await served.ask("device/fullcmc")
    assert (reply.status, status_of(reply)) == (200, CMCStatusInfo(CMCStatus.SUCCESS, (1,)))
    assert served.records.taken == [b"\x05\x00"]
    assert served.records.refusals == []
    [(message, requester, label)] = served.cmc.asked
    assert (message, label, requester.certificate) == (MESSAGE, "device", None)


@pytest.mark.parametrize(
    ("error", "http", "reason"),
    [
        (RefusedError("no"), 400, CMCFailInfo.BAD_REQUEST),
        (BadPOPError("no"), 400, CMCFailInfo.POP_FAILED),
        (NotLinkedError("no"), 400, CMCFailInfo.POP_FAILED),  # RFC 7030 §3.5
        (BadSignatureError("no"), 400, CMCFailInfo.BAD_MESSAGE_CHECK),
        (NotAuthorizedError("no"), 403, CMCFailInfo.BAD_IDENTITY),
        (UnavailableError("no"), 503, CMCFailInfo.TRY_LATER),
        (NotServedError("no"), 400, None),
    ],
)
async def test_rfc7030_4_3_2_refusals_have_a_cmc_message(
    served: Served, error: PKIServerError | ProtocolError, http: int, reason: CMCFailInfo | None
) -> None:
    served.cmc.outcomes = (Outcome((3,), error=error),)
    reply = await served.ask()
    status = CMCStatus.FAILED if reason is not None else CMCStatus.NO_SUPPORT
    assert (reply.status, status_of(reply)) == (http, CMCStatusInfo(status, (3,), "no", reason))
    assert served.records.taken == []
    refused = error.kind is not ErrorKind.UNAVAILABLE
    assert served.records.refusals == ([("fullcmc", "no")] if refused else [])
    assert ("retry-after" in reply.headers) == (not refused)
    if refused:
        assert served.records.actors == ["certificate:1"]


async def test_one_of_two(served: Served) -> None:
    served.cmc.outcomes = (Outcome((1,), b"\x05\x00"), Outcome((2,), error=RefusedError("no")))
    reply = await served.ask()
    assert reply.status == 200
    assert served.records.taken == [b"\x05\x00"]
    assert served.records.refusals == [("fullcmc", "no")]


async def test_rfc5272_6_1_1_what_waits_has_pend_info(served: Served) -> None:
    error = PendingError("enrolment 7 waits", timedelta(minutes=10))
    served.cmc.outcomes = (Outcome((1,), error=error),)
    reply = await served.ask()
    assert (reply.status, reply.headers["retry-after"]) == (202, "600")
    said = status_of(reply)
    assert said.status is CMCStatus.PENDING
    assert isinstance(said.other_info, PendInfo)
    assert said.other_info.pend_time == NOW + timedelta(minutes=10)
    assert served.records.refusals == []


async def test_what_cannot_be_said_now(served: Served) -> None:
    served.cmc.failing = UnavailableError("the signer is not there")
    reply = await served.ask()
    assert (reply.status, reply.body) == (503, b"the signer is not there\n")


async def test_other_content_types_are_audited(served: Served) -> None:
    reply = await served.ask(content_type="application/pkcs10")
    assert reply.status == 415
    assert [operation for operation, _ in served.records.refusals] == ["fullcmc"]
    assert served.cmc.asked == []
