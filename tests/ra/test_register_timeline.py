"""Timelines: all that happened to a person or a certificate, in order, and who read it."""

from datetime import timedelta
from typing import Any

import pytest

from pkiserver.errors import DeniedError, NotFoundError, RefusedError
from pkiserver.progress import silent
from pkiserver.ra.cases.entry import NewCase
from pkiserver.ra.cases.rules import Channel, Kind
from pkiserver.ra.cases.service import Decision
from pkiserver.ra.register.timeline import Happened, TimelinePage
from pkiserver.ra.registration.roles import Actor, Assignment, Role, Target
from store import audit as audit_chain
from store.applications import ApplicationRecord
from tests.ra.test_registration_services import Story, story  # noqa: F401 - a fixture

AUDITOR = Actor("anna", (Assignment(Role.AUDITOR),))


async def lived(story: Story) -> ApplicationRecord:  # noqa: F811
    """Issue, hand over, suspend, restore and revoke, each an hour after the other."""
    made = await story.issued()
    assert made.authority is not None
    assert made.serial is not None
    holder = Actor("e-mongolia", (Assignment(Role.SERVICE),), on_behalf_of=made.person)
    for kind, ground in ((Kind.SUSPEND, "carrier_missing"), (Kind.RESTORE, "carrier_found")):
        story.clock.moment += timedelta(hours=1)
        new = NewCase(made.authority, made.serial, kind, Channel.SELF_SERVICE, ground)
        await story.services.cases.receive(holder, new)
    story.clock.moment += timedelta(hours=1)
    asked = NewCase(
        made.authority, made.serial, Kind.REVOKE, Channel.WRITTEN, "holder_request", office="ub-1"
    )
    case = await story.services.cases.receive(story.registrar, asked)
    story.clock.moment += timedelta(hours=1)
    await story.services.cases.decide(story.registrar, case.id, Decision(case.version, True, "seen"))
    return made


async def whole(
    story: Story,  # noqa: F811
    made: ApplicationRecord,
    actor: Actor = AUDITOR,
    page: int = 100,
) -> list[Happened]:
    """Read the timeline of a person to its end."""
    found: list[Happened] = []
    after: str | None = None
    while True:
        part: TimelinePage = await story.services.register.timelines.of_person(
            actor, made.person or 0, after, page
        )
        found += part.entries
        after = part.next
        if after is None:
            return found


LIFE = [
    "person.added",
    "application.apply",
    "application.verify",
    "application.begin_issuing",
    "application.certificate_issued",
    "certificate.issued",
    "case.received",
    "hold.opened",
    "certificate.suspended",
    "case.granted",
    "letter.written",
    "case.received",
    "hold.closed",
    "certificate.restored",
    "case.granted",
    "letter.written",
    "case.received",
    "certificate.revoked",
    "case.granted",
    "letter.written",
]


async def test_a_whole_life_in_order(story: Story) -> None:  # noqa: F811
    made = await lived(story)
    found = await whole(story, made)
    events = [one.event for one in found]
    assert events == LIFE
    assert [one.at for one in found] == sorted(one.at for one in found)
    received, opened, suspended = found[6:9]
    assert (received.note, received.ground) == ("suspend self_service", "carrier_missing")
    assert (opened.note, suspended.case) == ("holder", received.case)
    assert not {"Дорж", "dorj@example.mn", "123456789012"} & {
        str(value) for one in found for value in _values(one)
    }


def _values(one: Happened) -> list[object]:
    return [getattr(one, name) for name in one.__slots__]


async def test_a_certificate_s_part_of_it(story: Story) -> None:  # noqa: F811
    made = await lived(story)
    assert made.authority is not None
    assert made.serial is not None
    timelines = story.services.register.timelines
    page = await timelines.of_certificate(AUDITOR, made.authority, made.serial, Target(), None, 100)
    of_person = await whole(story, made)
    assert list(page.entries) == [one for one in of_person if not one.event.startswith("person.")]


@pytest.mark.parametrize("page", [1, 2, 7])
async def test_pages_of_any_size_give_the_same(story: Story, page: int) -> None:  # noqa: F811
    made = await lived(story)
    assert await whole(story, made, page=page) == await whole(story, made)


async def test_who_may_not_read_cases_has_a_timeline_without(story: Story) -> None:  # noqa: F811
    made = await lived(story)
    elsewhere = Actor("dulam", (Assignment(Role.REGISTRAR, office=99),))
    found = {one.event.partition(".")[0] for one in await whole(story, made, elsewhere)}
    assert found == {"person", "hold", "certificate", "letter"}
    own = {one.note for one in await whole(story, made, story.registrar) if one.event.startswith("case.")}
    assert own == {"revoke written"}  # what came by self-service is of no office


async def test_readings_and_refusals_are_on_record(story: Story) -> None:  # noqa: F811
    made = await lived(story)
    await whole(story, made)
    stranger = Actor("fund", (Assignment(Role.NATIONAL_FUND),))
    with pytest.raises(DeniedError):
        await whole(story, made, stranger)
    records = await story.core.storage.read(lambda tx: audit_chain.newest(tx, 2))
    assert {(one.actor, one.action, one.outcome) for one in records} == {
        ("anna", "person.timeline", "done"),
        ("fund", "registration.read_person", "refused"),
    }


async def test_of_nobody_and_of_no_certificate(story: Story) -> None:  # noqa: F811
    timelines = story.services.register.timelines
    with pytest.raises(NotFoundError):
        await timelines.of_person(AUDITOR, 99, None, 10)
    with pytest.raises(NotFoundError):
        await timelines.of_certificate(AUDITOR, 1, 99, Target(), None, 10)
    for cursor in ("", "1", "1-2-3", "a-1-1-1", "1-1-1-1-1"):
        with pytest.raises(RefusedError):
            await timelines.of_person(AUDITOR, 1, cursor, 10)


async def test_the_commands(story: Story) -> None:  # noqa: F811
    made = await lived(story)

    async def ask(name: str, **given: Any) -> Any:
        return await story.core.commands.run(name, given | {"after": None, "limit": 3}, "user:root", silent)

    shown = await ask("person.timeline", person=made.person)
    assert (len(shown["entries"]), shown["next"] is None) == (3, False)
    shown = await ask("certificate.timeline", serial=f"{made.serial:x}", ca=None)
    assert shown["entries"][0]["event"].startswith("application.")
