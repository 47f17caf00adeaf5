"""What an operation of the API is: the row from which it is routed, checked and described."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from config.profile import Profile
from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock
from pkiserver.ra.actors import Actors
from pkiserver.ra.api_access import Caller
from pkiserver.ra.approval import Approvals
from pkiserver.ra.registration.renewals import Renewals
from pkiserver.ra.registration.roles import Action
from pkiserver.ra.registration.services import Registration
from pkiserver.ra.role_grants import RoleGrants
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.storage import Storage

BASE: Final = "/api/v1"
JSON: Final = "application/json"
CSV: Final = "text/csv"
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200  # of a page: some 100 KiB

Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many at most.")]
NumberCursor = Annotated[
    str, Field(pattern=r"^[0-9]{1,18}$", description="Where to go on: `next` of the page before.")
]
Number = Annotated[int, Field(ge=1, lt=1 << 63, description="Its number.")]
Moment = AwareDatetime


class Message(BaseModel):
    """A body: no unknown fields, no value of another type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True
    )


class Octets(Message):
    """An answer that is no JSON, but what the operation `produces`."""

    octets: bytes


class Parameters(BaseModel):
    """Values of a path or a query, which come as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class APIServices:
    """What the operations work with."""

    storage: Storage
    clock: Clock
    authorities: Authorities
    profiles: Mapping[str, Profile]
    approvals: Approvals
    status_changes: StatusChanges
    registration: Registration
    actors: Actors
    role_grants: RoleGrants
    renewals: Renewals


Path = TypeVar("Path")
Query = TypeVar("Query")
Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class Call(Generic[Path, Query, Body]):
    """One request to an operation, its values checked; `seen` is the ETag of If-Match, "" where none is.

    `key` is the Idempotency-Key, where the operation is `repeatable`.
    """

    caller: Caller
    path: Path
    query: Query
    body: Body
    seen: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Stranger(Generic[Body]):
    """One request to a public operation: from where, and what."""

    address: str
    body: Body


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers; `version` becomes the ETag of a thing that has versions."""

    message: Message
    version: str | None = None


Handler = Callable[[APIServices, Any], Awaitable[Answer]]  # of a `Call`, or a `Stranger` where it is public


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    `versioned`: it changes what the client has to have seen (If-Match). `shows_version`: its
    answer has an ETag, as that of every versioned one has. `reads`: it changes nothing, though it is a POST,
    since what is looked for is personal. Every operation that changes something may carry an Idempotency-Key:
    answers to it are kept for a while, encrypted. `public`: it takes no client certificate,
    each address has a share, and what is sent twice is done once.
    `repeatable`: it knows a repeated request by itself, for good and after a crash, too; no answer is kept.
    """

    operation_id: str
    method: str
    path: str
    summary: str
    action: Action
    handle: Handler
    answer: type[Message]
    parameters: type[Parameters] = Parameters
    query: type[Parameters] = Parameters
    body: type[Message] | None = None
    versioned: bool = False
    shows_version: bool = False
    reads: bool = False
    public: bool = False
    repeatable: bool = False
    media_types: tuple[str, ...] = (JSON,)  # of the body; of others the octets are handed on as they came

    produces: str = JSON  # the media type of the answer; of another one, `answer` is `Octets`

    @property
    def takes_body(self) -> bool:
        """Whether a request has a body."""
        return self.body is not None or self.media_types != (JSON,)

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET" and not self.reads

    @property
    def address(self) -> str:
        """The whole path, with its parameters in braces."""
        return BASE + self.path
