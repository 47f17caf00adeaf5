"""Purging documents: by rule, after the hand-over, and by two administrators."""

from datetime import timedelta
from typing import Any

import pytest

from pkiserver.errors import ConflictError, DeniedError, NotFoundError, RefusedError
from pkiserver.ra.archive import Subject
from pkiserver.ra.purges import WAITS, Purges
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store import documents as rows
from store import personal_data
from tests.ra.test_registration_documents import delivered
from tests.ra.test_registration_services import Story, story

__all__ = ["story"]
FIRST = Actor("administrator-1", (Assignment(Role.ADMINISTRATOR),))
SECOND = Actor("administrator-2", (Assignment(Role.ADMINISTRATOR),))
OVER = timedelta(days=13 * 365)  # five years of validity, seven of retention, and a few days


def purges(story: Story) -> Purges:
    return story.services.purges


async def made(story: Story, *, handed_over: bool = True) -> list[int]:
    """Have the documents of an application made, and its unit taken; return their numbers."""
    await delivered(story)
    unit = await story.core.archive.unit(FIRST, Subject(application=1))
    if handed_over:
        package = await story.core.archive.seal(FIRST, [unit.record.id])
        await story.core.archive.hand_over(FIRST, package.id, "Д. Оюун", "2026/17")
    return [one.id for one in await story.core.storage.read(lambda tx: rows.of_application(tx, 1, 10))]


async def test_two_administrators_purge_what_is_over(story: Story, recorded: Any) -> None:
    documents = await made(story)
    story.clock.moment += OVER
    asked = await purges(story).propose(FIRST, "application", "retention is over")
    assert list(asked.documents) == documents == [1, 2]
    assert await purges(story).confirm(SECOND, asked.id) == 2
    storage = story.core.storage
    kept = await storage.read(lambda tx: rows.of_application(tx, 1, 10))
    assert [one.erased_at for one in kept] == [story.clock.moment] * 2
    assert all(len(one.sha256) == 32 for one in kept)
    assert await storage.read(lambda tx: personal_data.of_row(tx, "documents", 1)) == {}
    log = await recorded(storage)
    told = [one for one in log if one["action"] == "document.purge"]
    assert [(one["actor"], one["asked_by"], one["documents"]) for one in told] == [
        ("administrator-2", "administrator-1", [1, 2])
    ]
    with pytest.raises(NotFoundError):
        await purges(story).confirm(SECOND, asked.id)
    with pytest.raises(ConflictError, match="may be purged yet"):
        await purges(story).propose(FIRST, "application", "again")


async def test_not_before_retention_is_over(story: Story) -> None:
    await made(story)
    for past in (timedelta(0), timedelta(days=5 * 365), timedelta(days=11 * 365)):
        moment = story.clock.moment
        story.clock.moment += past
        with pytest.raises(ConflictError, match="may be purged yet"):
            await purges(story).propose(FIRST, "application", "too early")
        story.clock.moment = moment


async def test_not_before_the_archive_has_it(story: Story) -> None:
    await made(story, handed_over=False)
    story.clock.moment += OVER
    with pytest.raises(ConflictError, match="may be purged yet"):
        await purges(story).propose(FIRST, "application", "not handed over")


async def test_nobody_purges_alone_or_late(story: Story) -> None:
    await made(story)
    story.clock.moment += OVER
    asked = await purges(story).propose(FIRST, "application", "retention is over")
    registrar = Actor("registrar-9", (Assignment(Role.REGISTRAR, everywhere=True),))
    for who in (FIRST, registrar):
        with pytest.raises(DeniedError):
            await purges(story).confirm(who, asked.id)
    with pytest.raises(DeniedError):
        await purges(story).propose(registrar, "application", "mine")
    story.clock.moment += WAITS
    with pytest.raises(NotFoundError):
        await purges(story).confirm(SECOND, asked.id)


async def test_what_is_no_kind(story: Story) -> None:
    with pytest.raises(RefusedError):
        await purges(story).propose(FIRST, "person", "all")
