"""ir, cr, p10cr and kur (RFC 9810 §5.3.1 to §5.3.6), and pollReq for those that wait (§5.3.22).

Who asks, for what, and who approves is decided as for EST; here is what CMP adds: several requests in a
message, the same answer to the same message, and confirmation.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from config.schema_cmp import CMP
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.identity import Identity
from pkiserver.errors import (
    PendingError,
    PKIServerError,
    RefusedError,
    UnavailableError,
)
from pkiserver.ra.approval import Approvals
from pkiserver.ra.cmp.challenges import Challenges
from pkiserver.ra.cmp.deliveries import Delivery, WithKey
from pkiserver.ra.cmp.entitlements import Entitled, Entitlements
from pkiserver.ra.cmp.errors import CertRevokedError
from pkiserver.ra.cmp.made_keys import is_to_be_made
from pkiserver.ra.cmp.openings import KEPT, Opening, open_transaction
from pkiserver.ra.cmp.senders import MACSender
from pkiserver.ra.cmp.stages import CheckedMessage, Refusal, RefusedAs, Reply, Request
from pkiserver.ra.cmp.subject_keys import SubjectKeys
from pkiserver.ra.cmp.wanted import Wanted, read_wanted
from pkiserver.ra.registration.plant_enrollment import Made, PlantEnrollment
from pkiserver.storage import Storage
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import CertifiedKeyPair, CertRepMessage, CertResponse
from protocols.cmp.general_info import GeneralInfo, read_general_info
from protocols.cmp.message import parse_pki_message
from protocols.cmp.polling import PollRep, build_poll_rep, parse_poll_req
from protocols.cmp.status import PKIStatus, PKIStatusInfo
from protocols.errors import ProtocolError
from protocols.x509.names import names_equal, sans_equal
from store import cmp_transactions as rows
from store.cmp_transactions import Requested
from store.database import Transaction

ANSWERS: Final = {
    BodyType.IR: BodyType.IP,
    BodyType.CR: BodyType.CP,
    BodyType.P10CR: BodyType.CP,
    BodyType.KUR: BodyType.KUP,
}
_WAITS: Final = ("the request waits for approval",)
_KEY_GONE: Final = (
    "the key that was made went with the first answer, and is kept nowhere: ask for another one"
)
_OVER: Final = "the transaction ended without a certificate for this request: ask in another one"
WHOLE_RESPONSE: Final = -1  # certReqId of a pollReq that means all (RFC 9810 §5.3.22)


@dataclass(frozen=True, slots=True)
class Approved:
    """One request that may be issued, or was before (`certificate`); `modified`: not as it was asked for.

    `made`: it was, in answer to another message.
    """

    wanted: Wanted
    request: AuthorizedRequest
    entitled: Entitled
    modified: bool
    delivery: Delivery
    certificate: bytes | None = field(default=None, repr=False)
    made: Made | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: the certificate as it is sent and its authority, or why there is none."""

    cert_req_id: int
    pair: CertifiedKeyPair | None = field(default=None, repr=False)
    authority: str = ""
    modified: bool = False
    refusal: Refusal | None = None


class Certification:
    """Answers requests for certificates. `refused_as` says how a client is told of an error."""

    def __init__(
        self,
        *,
        storage: Storage,
        authorities: Authorities,
        entitlements: Entitlements,
        approvals: Approvals,
        plant: PlantEnrollment,
        settings: CMP,
        subject_keys: SubjectKeys,
        challenges: Challenges,
        refused_as: RefusedAs,
    ) -> None:
        self._storage = storage
        self._subject_keys = subject_keys
        self._challenges = challenges
        self._authorities = authorities
        self._entitlements = entitlements
        self._approvals = approvals
        self._plant = plant
        self._settings = settings
        self._refused_as = refused_as

    async def certify(self, request: Request) -> Reply:
        """Answer a request; one that waits for approval, or for a challenge, is kept."""
        wanted = read_wanted(request.body, at_most=self._settings.max_requests)
        transaction = request.transaction
        if transaction is None or transaction.state == "challenged":
            challenge = await self._challenges.ask(request, wanted)
            if challenge is not None:
                return challenge
        return await self._go_on(request, wanted, answered=_has_answered(request))

    async def answer_challenged(self, request: Request) -> Reply:
        """Answer a popdecr as the request itself, once it has the right numbers (RFC 9810 §5.2.8.3.3)."""
        await self._challenges.take(request)
        original = self._original(request)
        wanted = read_wanted(original.body, at_most=self._settings.max_requests)
        return await self._go_on(original, wanted, answered=True)

    async def _go_on(self, request: Request, wanted: Sequence[Wanted], *, answered: bool) -> Reply:
        try:
            reply = await self._certified(request, wanted, answered=answered)
        except PendingError:
            await self._keep(request)
            responses = [CertResponse(one.cert_req_id, PKIStatusInfo(PKIStatus.WAITING)) for one in wanted]
            return _reply(request, responses)
        if reply.refusals:
            await self._close(request)
        return reply

    async def poll(self, request: Request) -> Reply:
        """Answer a pollReq: as the request itself would be answered once it was decided on."""
        original = self._original(request)
        wanted = read_wanted(original.body, at_most=self._settings.max_requests)
        ids = {one.cert_req_id for one in wanted}
        polled = set(parse_poll_req(request.body.content_der))
        if not polled <= ids | {WHOLE_RESPONSE}:
            raise RefusedError("the certReqId of this poll is not that of the request")
        try:
            reply = await self._certified(original, wanted, answered=_has_answered(original))
        except PendingError:
            check_after_s = int(self._settings.check_after.total_seconds())
            answers = [PollRep(one, check_after_s, _WAITS) for one in sorted(polled)]
            return Reply(PKIBody(BodyType.POLL_REP, build_poll_rep(answers)))
        if reply.refusals:
            await self._close(original)
        return reply

    async def again(self, request: Request) -> Reply:
        """Answer a message that was received before; nothing is issued twice."""
        if request.transaction is not None and request.transaction.state == "refused":
            raise CertRevokedError(
                "the certificates of this transaction were refused or not confirmed in time"
            )
        return await self.certify(request)

    async def _certified(self, request: Request, wanted: Sequence[Wanted], *, answered: bool) -> Reply:
        """Answer requests; `answered`: those that asked for a challenge have answered it."""
        before = await self._before(request)
        looked_at = [
            await self._look_at(request, one, before.get(one.cert_req_id), answered=answered)
            for one in wanted
        ]
        approved = [one for one in looked_at if isinstance(one, Approved)]
        if len(wanted) > 1 and any(one.request.profile.approval for one in approved):
            raise RefusedError("send one request in each message: these wait for approval (RFC 9483 §4.1.1)")
        implicitly = _confirmed_implicitly(request, approved)
        opening = self._opening(request, implicitly=implicitly)
        outcomes = [
            await self._issue(one, opening) if isinstance(one, Approved) else one for one in looked_at
        ]
        return self._reply(request, outcomes, opening)

    async def _before(self, request: Request) -> Mapping[int, Requested]:
        transaction = request.transaction
        if transaction is None:
            return {}
        found = await self._storage.read(lambda tx: rows.requested(tx, transaction.id), brief=True)
        return {one.cert_req_id: one for one in found}

    async def _look_at(
        self, request: Request, wanted: Wanted, before: Requested | None, *, answered: bool
    ) -> Approved | Outcome:
        if _is_over(request, before):
            return Outcome(wanted.cert_req_id, refusal=RefusedError(_OVER))
        if before is not None and is_to_be_made(wanted):
            return Outcome(wanted.cert_req_id, refusal=RefusedError(_KEY_GONE))
        try:
            entitled = await self._entitlements.of(request, wanted)
            public_key, delivery = await self._subject_keys.of(
                request,
                wanted,
                entitled.approved,
                is_ra=entitled.for_others,
                challenged=answered or (before is not None and before.certificate is not None),
            )
            made = None
            if before is None and entitled.card is not None:
                made = await self._plant.made(entitled.card, public_key)
        except UnavailableError:
            raise
        except (PKIServerError, ProtocolError) as error:
            return Outcome(wanted.cert_req_id, refusal=error)
        if before is not None and before.certificate is None and before.state in ("prepared", "signing"):
            raise UnavailableError("the certificate is being issued; send the message again")
        certificate = before.certificate.certificate if before and before.certificate else None
        identity = entitled.approved.identity
        modified = not _is_as_wanted(identity, wanted)
        authorized = entitled.approved.request(public_key)
        if isinstance(delivery, WithKey):  # each costs a key besides, however it was approved
            authorized = replace(authorized, bounded=True)
        return Approved(wanted, authorized, entitled, modified, delivery, certificate, made)

    def _opening(self, request: Request, *, implicitly: bool) -> Opening:
        if implicitly:
            return Opening(request, "ended", None)
        asked = request.checked.info.confirm_wait_time
        deadline = request.now + self._settings.confirm_wait
        if asked is not None and request.now < asked < deadline:
            deadline = asked
        return Opening(request, "unconfirmed", deadline)

    async def _issue(self, approved: Approved, opening: Opening) -> Outcome:
        cert_req_id = approved.wanted.cert_req_id
        certificate = approved.certificate
        if approved.made is not None:
            await self._take_over(cert_req_id, approved.made, opening)
            certificate = approved.made.certificate
        elif certificate is None:
            request = replace(approved.request, reserved=opening.reserved(cert_req_id))
            entitled = approved.entitled
            try:
                certificate = await self._approvals.obtain(
                    request, until=entitled.until, for_others=entitled.for_others
                )
            except PendingError:
                raise
            except (PKIServerError, ProtocolError) as error:
                return Outcome(cert_req_id, refusal=error)
        pair = await approved.delivery.pair(certificate)
        return Outcome(cert_req_id, pair, approved.request.authority, approved.modified)

    async def _take_over(self, cert_req_id: int, made: Made, opening: Opening) -> None:
        await self._storage.write(lambda tx: opening.take_over(tx, cert_req_id, made.issuance))

    async def _keep(self, request: Request) -> None:
        """Open the transaction of a request that waits, unless this is the same message again."""
        transaction = request.transaction
        if transaction is None:
            await self._storage.write(lambda tx: _wait(tx, request))
        elif transaction.state == "challenged":
            await self._storage.write(
                lambda tx: rows.move(tx, transaction.id, from_state="challenged", to_state="waiting")
            )

    async def _close(self, request: Request) -> None:
        """End a transaction that waited in vain, unless some of its requests were answered well."""
        transaction = request.transaction
        if transaction is not None and transaction.state in KEPT:
            await self._storage.write(
                lambda tx: rows.move(
                    tx,
                    transaction.id,
                    from_state=transaction.state,
                    to_state="ended",
                )
            )

    def _original(self, poll: Request) -> Request:
        """Return the request that is polled for, as it was received."""
        transaction = poll.transaction
        if transaction is None or transaction.request is None:
            raise RefusedError("there is no request that could be polled for")
        message = parse_pki_message(transaction.request)
        checked = CheckedMessage(
            message,
            read_general_info(message.header.general_info),
            transaction.transaction_id,
            message.header.sender_nonce or b"",
        )
        return replace(poll, checked=checked, request_sha256=hashlib.sha256(message.der).digest())

    def _reply(self, request: Request, outcomes: Sequence[Outcome], opening: Opening) -> Reply:
        issued = [one for one in outcomes if one.pair is not None]
        certificates = [
            authority.der
            for name in dict.fromkeys(one.authority for one in issued)
            for authority in self._authorities.chain(name)
        ]
        by_mac = isinstance(request.sender, MACSender)
        trusted = certificates[-1:] if by_mac and request.body.tag is BodyType.IR else []
        info = GeneralInfo()
        if issued and opening.state == "ended":
            info = GeneralInfo(implicit_confirm=True)
        elif issued:
            info = GeneralInfo(confirm_wait_time=opening.deadline)
        responses = [self._response(one) for one in outcomes]
        refusals = tuple(one.refusal for one in outcomes if one.refusal is not None)
        return replace(
            _reply(request, responses, trusted),
            info=info,
            certificates=tuple(certificates),
            refusals=refusals,
            pvno=request.pvno,
        )

    def _response(self, outcome: Outcome) -> CertResponse:
        if outcome.refusal is not None:
            return CertResponse(outcome.cert_req_id, self._refused_as(outcome.refusal))
        status = PKIStatus.GRANTED_WITH_MODS if outcome.modified else PKIStatus.ACCEPTED
        return CertResponse(outcome.cert_req_id, PKIStatusInfo(status), outcome.pair)


def _has_answered(request: Request) -> bool:
    """Return whether a challenge was answered: without that no transaction waits for approval."""
    return request.transaction is not None and request.transaction.state == "waiting"


def _is_over(request: Request, before: Requested | None) -> bool:
    """Return whether a transaction ended without a certificate for a request, or an attempt to make one.

    A certificate made now would be confirmed already, or implicitly, though nobody looked at it then: one
    that leaves its proof of possession to the confirmation would never have any (RFC 9810 §5.2.8.3.2).
    """
    state = None if request.transaction is None else request.transaction.state
    if state == "ended":  # implicitly: where it was begun to be made, that was looked at
        return before is None
    return state in ("confirmed", "refused") and (before is None or before.certificate is None)


def _confirmed_implicitly(request: Request, approved: Sequence[Approved]) -> bool:
    """Return whether no certConf is waited for; what was decided when a transaction was opened stays so."""
    transaction = request.transaction
    if transaction is not None and transaction.state not in KEPT:
        return transaction.state == "ended"
    return request.checked.info.implicit_confirm and all(
        one.request.profile.implicit_confirm and not one.delivery.needs_confirmation for one in approved
    )


def _is_as_wanted(identity: Identity, wanted: Wanted) -> bool:
    """Return whether the names are those of the request, where it says any."""
    csr = wanted.csr
    return (not list(csr.subject) or names_equal(identity.subject, csr.subject)) and (
        not csr.san or sans_equal(identity.san, csr.san)
    )


def _wait(tx: Transaction, request: Request) -> None:
    open_transaction(tx, request, "waiting")


def _reply(request: Request, responses: Sequence[CertResponse], ca_pubs: Sequence[bytes] = ()) -> Reply:
    content = CertRepMessage(tuple(responses), tuple(ca_pubs))
    return Reply(PKIBody(ANSWERS[request.body.tag], content.encode()))
