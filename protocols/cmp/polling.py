"""PollReqContent and PollRepContent (RFC 9810 §5.3.22): asking again for what is delayed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmp.free_text import encode_free_text, optional_free_text
from protocols.cmp.numbers import parse_cert_req_id
from protocols.errors import MalformedError

MAX_POLLS: Final = 32  # as many as requests in a message
MAX_CHECK_AFTER_S: Final = 10 * 365 * 86_400  # far over any answer that is waited for


def parse_poll_req(content_der: bytes) -> tuple[int, ...]:
    """Return the certReqIds of a DER PollReqContent: one or more, at most `MAX_POLLS`."""
    outer = Reader(content_der)
    ids = der.repeated(outer.enter(), _parse_one, at_most=MAX_POLLS, what="polls in a message")
    outer.finish()
    if not ids:
        raise MalformedError("PollReqContent is empty")
    return ids


def _parse_one(reader: Reader) -> int:
    fields = reader.enter()
    cert_req_id = parse_cert_req_id(fields)
    fields.finish()
    return cert_req_id


def build_poll_req(cert_req_ids: Iterable[int]) -> bytes:
    """Return the DER of a PollReqContent."""
    return der.sequence(*(der.sequence(der.integer(one)) for one in cert_req_ids))


@dataclass(frozen=True, slots=True)
class PollRep:
    """When to ask again for one request, in seconds, and why it takes so long."""

    cert_req_id: int
    check_after_s: int
    reason: tuple[str, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an element of a PollRepContent."""
        fields = reader.enter()
        cert_req_id = parse_cert_req_id(fields)
        check_after_s = fields.integer()
        if not 0 <= check_after_s <= MAX_CHECK_AFTER_S:
            raise MalformedError("checkAfter is no number of seconds to wait")
        reason = optional_free_text(fields)
        fields.finish()
        return cls(cert_req_id, check_after_s, reason)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            der.integer(self.cert_req_id), der.integer(self.check_after_s), encode_free_text(self.reason)
        )


def parse_poll_rep(content_der: bytes) -> tuple[PollRep, ...]:
    """Return what a DER PollRepContent says: one or more, at most `MAX_POLLS`."""
    outer = Reader(content_der)
    answers = der.repeated(outer.enter(), PollRep.parse, at_most=MAX_POLLS, what="polls in a message")
    outer.finish()
    if not answers:
        raise MalformedError("PollRepContent is empty")
    return answers


def build_poll_rep(answers: Iterable[PollRep]) -> bytes:
    """Return the DER of a PollRepContent."""
    return der.sequence(*(answer.encode() for answer in answers))
