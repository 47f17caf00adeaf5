"""What HTTP says of a message of CMP, as it goes from the parent to a worker, which loads little else."""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class CMPReply:
    """A PKIMessage with 200; with every other status one line of text, or nothing."""

    status: HTTPStatus
    body: bytes = b""
    retry_after_s: int | None = None
