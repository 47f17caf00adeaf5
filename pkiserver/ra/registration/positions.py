"""What ends with an officer's position: the credentials that were given for it, enrolled by then or not."""

from datetime import datetime

from pkiserver.ra.registration.application_events import move_on
from pkiserver.ra.registration.states import Event, State
from store import applications as rows
from store import credentials
from store.database import Transaction


def end_credentials(tx: Transaction, officer: int, actor: str, ground: str, now: datetime) -> list[str]:
    """Cancel what enrols an officer's applications; return the references, for the audit log.

    An application that awaits a certificate has failed then, unless the certificate is being made just now:
    that is dealt with as those which the officer has already.
    """
    cancelled = []
    for application in rows.of_officer(tx, officer):
        if application.credential is None or not credentials.cancel(tx, application.credential, now):
            continue
        cancelled.append(application.credential)
        if application.state == State.ISSUING.value and not rows.is_being_issued(tx, application.id):
            move_on(tx, application, Event.FAIL, by=actor, ground=ground, now=now)
    return cancelled
