"""fullcmc over HTTPS (RFC 7030 §4.3): Full PKI Requests, answered by Full PKI Responses, refusals too."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

import structlog
from aiohttp import web

from pkiserver.errors import PendingError
from pkiserver.ra.cmc import Answer, NotServedError, Outcome
from pkiserver.ra.requester import Requester
from pkiserver.web.est_messages import PATHS, audited, deliver, encoded, label_of, requester_of
from pkiserver.web.middleware import CLIENT, NO_PROXIES
from pkiserver.web.proxies import TrustedProxies
from pkiserver.web.wire import WIRE, reason_of, retry_after_of
from protocols.cmc.pki_response import PKIResponse, pki_response
from protocols.cmc.status import CMCStatus, CMCStatusInfo, PendInfo
from protocols.errors import ErrorKind
from protocols.est.request import decode_cmc
from protocols.est.response import CMC_RESPONSE_CONTENT_TYPE

_OPERATION: Final = "fullcmc"
_NONCE_OCTETS: Final = 16
_SEND_AGAIN: Final = "waits for approval: send the same request again"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


class CMCService(Protocol):
    """What fullcmc asks of the registration side."""

    async def answer(self, message: bytes, requester: Requester, label: str | None) -> Answer:
        """Return what came of a message; raises only where the same may succeed later."""

    async def sign(self, response: PKIResponse, certificates: Sequence[bytes]) -> bytes:
        """Return the DER of a signed Full PKI Response."""


class Records(Protocol):
    """Where it is noted what became of an answer."""

    async def delivered(self, certificate: bytes) -> None:
        """Note that the response with this certificate was written to its client without error."""

    async def refused(self, *, operation: str, peer: str, reason: str, actor: str = "anonymous") -> None:
        """Audit a refusal."""


def cmc_routes(
    service: CMCService, records: Records, proxies: TrustedProxies = NO_PROXIES
) -> list[web.RouteDef]:
    """Return the routes of fullcmc, with and without a label."""

    async def fullcmc(request: web.Request) -> web.Response:
        async with audited(records, _OPERATION, request[CLIENT]):
            requester = requester_of(request, proxies)
            message = decode_cmc(await request.read(), request.headers.get("Content-Type"))
        answer = await service.answer(message, requester, label_of(request))
        await _note(records, request[CLIENT], answer)
        statuses = [_status(one, answer.at) for one in answer.outcomes]
        content = pki_response(statuses, answer.controls, sender_nonce=secrets.token_bytes(_NONCE_OCTETS))
        signed = await service.sign(content, answer.certificates)
        response = _response(request, answer, signed)
        await deliver(request, response)
        for certificate in answer.certificates:
            await records.delivered(certificate)
        return response

    return [
        web.post(f"{path}/{_OPERATION}", fullcmc, name=f"est.{_OPERATION}{variant}")
        for path, variant in PATHS
    ]


async def _note(records: Records, peer: str, answer: Answer) -> None:
    """Log and audit what was refused: as elsewhere, but here the refusals are part of an answer."""
    for one in answer.outcomes:
        if one.error is None or one.error.kind in (ErrorKind.PENDING, ErrorKind.UNAVAILABLE):
            continue
        _log.info("refused", kind=one.error.kind.value, reason=str(one.error))
        await records.refused(operation=_OPERATION, peer=peer, reason=str(one.error), actor=answer.actor)


def _status(outcome: Outcome, now: datetime) -> CMCStatusInfo:
    error = outcome.error
    if error is None:
        return CMCStatusInfo(CMCStatus.SUCCESS, outcome.body_parts)
    reason = reason_of(error) or None
    if isinstance(error, PendingError):
        # §6.1.1 has pendInfo be there. The token leads nowhere: the request itself is sent again (RFC 7030
        # §4.2.3), and queryPending, which would name the token, is not processed.
        pend_info = PendInfo(secrets.token_bytes(_NONCE_OCTETS), now + error.retry_after)
        return CMCStatusInfo(CMCStatus.PENDING, outcome.body_parts, _SEND_AGAIN, pend_info)
    if isinstance(error, NotServedError):
        return CMCStatusInfo(CMCStatus.NO_SUPPORT, outcome.body_parts, reason)
    return CMCStatusInfo(CMCStatus.FAILED, outcome.body_parts, reason, WIRE[error.kind].cmc)


def _response(request: web.Request, answer: Answer, signed: bytes) -> web.Response:
    """Return 200 where a request succeeded, else the status of the first refusal (RFC 7030 §4.3.2)."""
    error = answer.error
    if error is None:
        return encoded(request, signed, CMC_RESPONSE_CONTENT_TYPE)
    response = encoded(request, signed, CMC_RESPONSE_CONTENT_TYPE, WIRE[error.kind].http)
    retry_after_s = retry_after_of(error)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response
