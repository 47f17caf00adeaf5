"""What happened to an application: each event written with the state that it leads to, and its audit record.

Everything here is part of the caller's transaction; which event may follow is in `states`.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from pkiserver import audit
from pkiserver.errors import ConflictError, NotFoundError
from pkiserver.ra.registration.roles import Actor, Target
from pkiserver.ra.registration.states import Change, Command, Event, Standing, State, decide
from store import applications as rows
from store import audit as audit_chain
from store import credentials
from store.applications import ApplicationEventRecord, ApplicationRecord
from store.database import Transaction


def found_application(tx: Transaction, application: int) -> ApplicationRecord:
    """Return an application or raise `NotFoundError`."""
    found = rows.get(tx, application)
    if found is None:
        raise NotFoundError(f"no application {application}; see `pkiserver application list`")
    return found


def target_of(record: ApplicationRecord) -> Target:
    """Return where an application belongs and whose it is, as the permission table asks."""
    return Target(
        office=record.office,
        organization=record.organization,
        holder=record.person,
        version=record.version,
    )


def standing_of(record: ApplicationRecord) -> Standing:
    """Return where an application stands, as the transition table asks."""
    return Standing(State(record.state), record.version)


def move_on(
    tx: Transaction,
    record: ApplicationRecord,
    event: Event,
    *,
    by: str,
    ground: str,
    now: datetime,
    detail: Mapping[str, object] | None = None,
) -> ApplicationRecord:
    """Move an application on from where it stands now; `ConflictError` where that may not be."""
    command = Command(event, record.version, by, ground)
    return record_event(tx, record, decide(standing_of(record), command, now), detail or {})


def record_draft(tx: Transaction, added: ApplicationRecord, actor: Actor, now: datetime) -> ApplicationRecord:
    """Write the event with which a draft begins, to which no state leads; return the draft."""
    event = ApplicationEventRecord(
        application=added.id,
        version=1,
        event="apply",
        from_state=None,
        to_state=State.DRAFT.value,
        actor=actor.name,
        ground="applied for",
        at=now,
        detail=json.dumps({"on_behalf_of": actor.on_behalf_of}),
    )
    return _append(tx, event)


def record_event(
    tx: Transaction, record: ApplicationRecord, change: Change, detail: Mapping[str, object]
) -> ApplicationRecord:
    """Write an event, the state that it leads to, and the audit record, in the caller's transaction."""
    event = ApplicationEventRecord(
        application=record.id,
        version=change.version,
        event=change.event.value,
        from_state=change.from_state.value,
        to_state=change.to_state.value,
        actor=change.actor,
        ground=change.ground,
        at=change.at,
        detail=json.dumps(detail, ensure_ascii=False, sort_keys=True),
    )
    return _append(tx, event)


def _append(tx: Transaction, event: ApplicationEventRecord) -> ApplicationRecord:
    moved = rows.append(tx, event)
    if moved is None:
        raise ConflictError("the application has changed since")
    entry = audit.entry(
        event.at,
        event.actor,
        f"application.{event.event}",
        application=event.application,
        version=event.version,
        state=event.to_state,
    )
    audit_chain.append(tx, entry)
    return moved


def withdraw_in(tx: Transaction, application: int, actor: str, ground: str, now: datetime) -> None:
    """Withdraw an application that came to no certificate, in the caller's transaction; its credential ends.

    `ConflictError` while a certificate is being made with it.
    """
    found = found_application(tx, application)
    changed = decide(standing_of(found), Command(Event.WITHDRAW, found.version, actor, ground), now)
    end_credential(tx, found, now)
    record_event(tx, found, changed, {})


def end_credential(tx: Transaction, record: ApplicationRecord, now: datetime) -> None:
    """Cancel what enrols an application; `ConflictError` where a certificate is being made with it."""
    if record.state == State.ISSUING.value and rows.is_being_issued(tx, record.id):
        raise ConflictError(f"the certificate of application {record.id} is being made")
    if record.credential is not None:
        credentials.cancel(tx, record.credential, now)
