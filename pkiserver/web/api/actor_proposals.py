"""Proposed changes of actors: what waits for a second administrator, and what became of the rest."""

from datetime import datetime
from typing import Any, Final, Literal

from pkiserver.bounds import MAX_NUMBER
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.conditions import require_seen
from pkiserver.web.api.operations import (
    DEFAULT_LIMIT,
    Answer,
    APIServices,
    Call,
    Limit,
    Message,
    Number,
    NumberCursor,
    Operation,
    Parameters,
)
from protocols.x509.certificate import serial_text
from store.actor_proposals import ProposalRecord
from store.records import ActorRecord

ProposalState = Literal["waiting", "done", "refused"]


class ProposalPath(Parameters):
    """A proposal by number."""

    proposal: Number


class ProposalSearch(Parameters):
    """Which proposals, and which part of the list."""

    state: ProposalState | None = None
    limit: Limit = DEFAULT_LIMIT
    after: NumberCursor | None = None


class Proposal(Message):
    """A change of an actor: done, or waiting for a second administrator; `version` is the actor's of now."""

    proposal: int
    state: ProposalState
    kind: Literal["grant", "withdraw", "certificate", "remove"]
    actor: str
    role: str | None
    office: str | None
    organization: str | None
    everywhere: bool
    serial: str | None
    version: int
    proposed_at: datetime
    proposed_by: str
    decided_at: datetime | None
    decided_by: str | None


class ProposalList(Message):
    """A page of proposals, the newest first; `next` leads to the page behind, null where none is."""

    items: tuple[Proposal, ...]
    next: str | None


async def list_proposals(services: APIServices, call: Call[Any, ProposalSearch, None]) -> Answer:
    """List proposed changes of actors."""
    query = call.query
    found = await services.actors.proposals(query.state, before(query.after), query.limit + 1)
    items = [await _proposal(services, one, actor) for one, actor in found[: query.limit]]
    more = str(items[-1].proposal) if len(found) > query.limit else None
    return Answer(ProposalList(items=tuple(items), next=more))


async def show_proposal(services: APIServices, call: Call[ProposalPath, Any, None]) -> Answer:
    """Show a proposed change of an actor."""
    return await shown_proposal(services, call.path.proposal)


async def confirm_proposal(services: APIServices, call: Call[ProposalPath, Any, None]) -> Answer:
    """Confirm what another administrator proposed of somebody else; it is carried out at once."""
    found, actor = await services.actors.proposal(call.path.proposal)
    require_seen(call.seen, _version(found, actor))
    await services.role_grants.confirm(call.caller.acting, found.id, actor.version)
    return await shown_proposal(services, found.id)


async def refuse_proposal(services: APIServices, call: Call[ProposalPath, Any, None]) -> Answer:
    """Refuse a proposed change, or take the own proposal back."""
    found, actor = await services.actors.proposal(call.path.proposal)
    require_seen(call.seen, _version(found, actor))
    await services.role_grants.refuse(call.caller.acting, found.id)
    return await shown_proposal(services, found.id)


async def shown_proposal(services: APIServices, number: int) -> Answer:
    """Return a proposal as it stands, with the version that is to be named to decide on it."""
    found, actor = await services.actors.proposal(number)
    return Answer(await _proposal(services, found, actor), _version(found, actor))


def _version(found: ProposalRecord, actor: ActorRecord) -> str:
    # Who confirms has seen the proposal, and whom it is about.
    return f"{found.id}-{found.state}-{actor.version}"


def before(after: str | None) -> int:
    """Return the number below which a page begins: that of the cursor, or the largest there is."""
    return MAX_NUMBER if after is None else int(after)


async def _proposal(services: APIServices, found: ProposalRecord, actor: ActorRecord) -> Proposal:
    office, organization = await services.actors.place_names(found.change)
    change = found.change
    return Proposal.model_validate(
        {
            "proposal": found.id,
            "state": found.state,
            "kind": change.kind,
            "actor": actor.name,
            "role": change.role,
            "office": office,
            "organization": organization,
            "everywhere": change.everywhere,
            "serial": None if change.serial is None else serial_text(change.serial),
            "version": actor.version,
            "proposed_at": found.proposed_at,
            "proposed_by": found.proposed_by,
            "decided_at": found.decided_at,
            "decided_by": found.decided_by,
        }
    )


OPERATIONS: Final = (
    Operation(
        "listProposals",
        "GET",
        "/actor-proposals",
        "List proposed changes of actors",
        Action.READ_ACTOR,
        list_proposals,
        ProposalList,
        query=ProposalSearch,
    ),
    Operation(
        "showProposal",
        "GET",
        "/actor-proposals/{proposal}",
        "Show a proposed change of an actor",
        Action.READ_ACTOR,
        show_proposal,
        Proposal,
        parameters=ProposalPath,
        shows_version=True,
    ),
    *(
        Operation(
            f"{verb}Proposal",
            "POST",
            f"/actor-proposals/{{proposal}}/{verb}",
            summary,
            Action.GRANT_ROLE,
            handle,
            Proposal,
            parameters=ProposalPath,
            versioned=True,
        )
        for verb, summary, handle in (
            ("confirm", "Confirm a change that another administrator proposed", confirm_proposal),
            ("refuse", "Refuse a proposed change of an actor", refuse_proposal),
        )
    ),
)
