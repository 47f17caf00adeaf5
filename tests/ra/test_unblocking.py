"""Unblock codes of tokens: taken over once, released once for the right answer, then replaced."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.errors import (
    ConflictError,
    DeniedError,
    NotFoundError,
    RefusedError,
    TooManyRequestsError,
    UnavailableError,
)
from pkiserver.progress import silent
from pkiserver.ra.lifecycle import Action, Command, HoldOwner
from pkiserver.ra.registration.carriers import Event
from pkiserver.ra.registration.kept_codes import SUBJECT
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.status_changes import change_status
from pkiserver.ra.unblocking import ATTEMPTS, LIFETIME, MAX_ASKED, WINDOW
from protocols.asn1.ocsp import CRLReason
from store import carriers, cases, organizations, personal_data, unblock_codes
from store.records import AuditRecord
from tests.ra.officer_setting import NUMBER, SPECIALIST
from tests.ra.unblocking_setting import CODE, TOKEN, Office

Audited = Callable[[Core], Awaitable[list[AuditRecord]]]
ADMINISTRATOR = Actor("administrator", (Assignment(Role.ADMINISTRATOR),))


@pytest.fixture
async def office(core: Core, clock: Any) -> Office:
    return await Office.of(core, clock)


async def test_the_right_answer_releases_the_code_once_and_the_token_gets_another(office: Office) -> None:
    challenge = await office.asked()
    assert (await office.token()).state == "blocked"
    released = await office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge.lower())
    assert released.code == CODE
    assert CODE not in repr(released)
    assert (await office.token()).state == "issued"
    row = (await office.token()).id
    assert await office.core.storage.read(lambda tx: personal_data.of_row(tx, SUBJECT, row)) == {}
    with pytest.raises(DeniedError):
        await office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge)
    with pytest.raises(ConflictError, match="was used"):
        await office.unblocking.ask(office.own.officer, NUMBER, TOKEN)
    replaced = await office.unblocking.take_over(SPECIALIST, NUMBER, TOKEN, "another-code")
    assert (replaced.number, replaced.state) == (2, "kept")
    again = await office.unblocking.release(office.own.officer, NUMBER, TOKEN, await office.asked())
    assert again.code == "another-code"


async def test_two_right_answers_at_the_same_time_release_it_once(office: Office) -> None:
    challenge = await office.asked()
    answers = [office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge) for _ in range(8)]
    found = await asyncio.gather(*answers, return_exceptions=True)
    assert [getattr(one, "code", None) for one in found if not isinstance(one, Exception)] == [CODE]
    assert sum(isinstance(one, DeniedError) for one in found) == 7


@pytest.mark.parametrize(("by_service", "channel"), [(True, "self_service"), (False, "organization")])
async def test_it_is_a_case_by_the_channel_of_who_asked(
    office: Office, by_service: bool, channel: str
) -> None:
    who = office.service if by_service else office.own.officer
    await office.unblocking.release(who, NUMBER, TOKEN, await office.asked(who))
    named = (office.made.authority or 0, office.made.serial or 0)
    found = await office.core.storage.read(lambda tx: cases.of_certificate(tx, *named, 10))
    assert [(one.kind, one.channel, one.state, one.ground) for one in found] == [
        ("unblock", channel, "granted", "carrier_blocked")
    ]


async def test_a_code_is_taken_over_once(office: Office) -> None:
    again = await office.unblocking.take_over(SPECIALIST, NUMBER, TOKEN, CODE)
    assert again.number == 1
    with pytest.raises(ConflictError, match="kept already"):
        await office.unblocking.take_over(SPECIALIST, NUMBER, TOKEN, "another-code")


@pytest.mark.parametrize(
    "code",
    ["123", "1" * 65, "with blank", "line\nfeed", "1234\n", "ПИН-код", "\x7f1234", ""],
    ids=["short", "long", "blank", "line", "end", "cyrillic", "control", "empty"],
)
async def test_what_is_no_code(office: Office, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await office.unblocking.take_over(SPECIALIST, NUMBER, "T-2", code)
    assert not code or code not in str(caught.value)


async def test_attempts_are_limited(
    office: Office, audited: Callable[[Core], Awaitable[list[AuditRecord]]]
) -> None:
    challenge = await office.asked()
    for _ in range(ATTEMPTS):
        with pytest.raises(DeniedError, match="wrong"):
            await office.unblocking.release(office.own.officer, NUMBER, TOKEN, "AAAA-AAAA-AAAA")
    with pytest.raises(DeniedError):
        await office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge)
    refused = [one for one in await audited(office.core) if one.action == "token.unblock"]
    left = [json.loads(one.detail)["attempts_left"] for one in refused]
    assert (left, {one.outcome for one in refused}) == ([4, 3, 2, 1, 0, 0], {"refused"})


async def test_one_wrong_answer_costs_one_attempt(office: Office) -> None:
    challenge = await office.asked()
    with pytest.raises(DeniedError):
        await office.unblocking.release(office.own.officer, NUMBER, TOKEN, "AAAA-AAAA-AAAA")
    assert (await office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge)).code == CODE


async def test_a_challenge_runs_out_and_so_does_its_letter(office: Office) -> None:
    challenge = await office.asked()
    await office.unblocking.ask(office.own.officer, NUMBER, TOKEN)
    office.clock.moment += LIFETIME
    with pytest.raises(DeniedError):
        await office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge)
    assert len(await office.mail()) == 1  # the second one comes too late to be sent


async def test_another_challenge_ends_the_one_before(office: Office) -> None:
    first, second = await office.asked(), await office.asked()
    with pytest.raises(DeniedError):
        await office.unblocking.release(office.own.officer, NUMBER, TOKEN, first)
    assert (await office.unblocking.release(office.own.officer, NUMBER, TOKEN, second)).code == CODE


async def test_challenges_of_a_token_are_limited(office: Office) -> None:
    for _ in range(MAX_ASKED):
        await office.unblocking.ask(office.own.officer, NUMBER, TOKEN)
    office.clock.moment += timedelta(minutes=20)
    with pytest.raises(TooManyRequestsError) as caught:
        await office.unblocking.ask(office.service, NUMBER, TOKEN)
    assert caught.value.retry_after == WINDOW - timedelta(minutes=20)
    office.clock.moment += caught.value.retry_after
    await office.unblocking.ask(office.service, NUMBER, TOKEN)


@pytest.mark.parametrize("event", [Event.LOSE, Event.DAMAGE, Event.RETIRE])
async def test_a_token_that_does_not_come_back_is_not_unblocked_and_its_code_is_gone(
    office: Office, event: Event
) -> None:
    challenge = await office.asked()
    row = (await office.token()).id
    await office.core.registration.tokens.move(office.own.officer, NUMBER, TOKEN, event, "letter 9")
    for tried in (
        office.unblocking.ask(office.own.officer, NUMBER, TOKEN),
        office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge),
        office.unblocking.take_over(SPECIALIST, NUMBER, TOKEN, "another-code"),
    ):
        with pytest.raises(ConflictError):
            await tried
    assert await office.core.storage.read(lambda tx: personal_data.of_row(tx, SUBJECT, row)) == {}


@pytest.mark.parametrize("action", [Action.SUSPEND, Action.REVOKE])
async def test_with_a_suspended_or_revoked_certificate_it_is_not_unblocked(
    office: Office, action: Action
) -> None:
    challenge = await office.asked()
    named = (office.made.authority or 0, office.made.serial or 0)
    reason = CRLReason.UNSPECIFIED if action is Action.REVOKE else None
    command = Command(action, HoldOwner.HOLDER, reason) if reason else Command(action, HoldOwner.HOLDER)
    now = office.clock.now()
    await office.core.storage.write(lambda tx: change_status(tx, *named, command, "test", now))
    for tried in (
        office.unblocking.ask(office.own.officer, NUMBER, TOKEN),
        office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge),
    ):
        with pytest.raises(ConflictError, match="suspended, revoked or expired"):
            await tried


async def test_with_an_expired_certificate_it_is_not_unblocked(office: Office) -> None:
    office.clock.moment += timedelta(days=6 * 366)
    with pytest.raises(ConflictError, match="expired"):
        await office.unblocking.ask(office.own.officer, NUMBER, TOKEN)


async def test_only_its_holder_and_the_own_organisation_ask_and_only_who_issues_hands_over(
    office: Office,
) -> None:
    stranger = replace(office.service, on_behalf_of=(office.made.person or 0) + 1)
    other = Actor("org-2", (Assignment(Role.ORG_OFFICER, organization=office.own.id + 1),))
    registrar = Actor("registrar", (Assignment(Role.REGISTRAR, everywhere=True),))
    for actor in (stranger, other, SPECIALIST, registrar, ADMINISTRATOR):
        with pytest.raises(DeniedError):
            await office.unblocking.ask(actor, NUMBER, TOKEN)
        with pytest.raises(DeniedError):
            await office.unblocking.release(actor, NUMBER, TOKEN, "AAAA-AAAA-AAAA")
    for actor in (office.service, office.own.officer, registrar, ADMINISTRATOR):
        with pytest.raises(DeniedError):
            await office.unblocking.take_over(actor, NUMBER, "T-2", CODE)
    with pytest.raises(NotFoundError):
        await office.unblocking.take_over(SPECIALIST, NUMBER, "T-9", CODE)


async def test_without_a_code_or_a_holder_nothing_is_asked(office: Office) -> None:
    with pytest.raises(ConflictError, match="blank"):
        await office.unblocking.ask(office.own.officer, NUMBER, "T-2")
    token = await office.token()
    await office.core.storage.write(lambda tx: unblock_codes.forget(tx, token.id))
    with pytest.raises(ConflictError, match="no unblock code"):
        await office.unblocking.ask(office.own.officer, NUMBER, TOKEN)
    assert await office.token() == token


async def test_a_code_is_opened_for_its_own_token_alone_and_outlives_a_new_key(office: Office) -> None:
    await office.core.registration.data_key.rotate(ADMINISTRATOR, silent)
    token = await office.token()
    sealed = await office.core.storage.read(lambda tx: personal_data.of_row(tx, SUBJECT, token.id))
    await office.unblocking.take_over(SPECIALIST, NUMBER, "T-2", "another-code")
    moved = {f"code/{TOKEN}": (next(iter(sealed.values())), None)}
    other = await office.core.storage.read(lambda tx: carriers.with_serial(tx, "token", "T-2"))
    assert other is not None
    await office.core.storage.write(lambda tx: personal_data.put(tx, SUBJECT, other.id, moved))
    with pytest.raises(UnavailableError, match="cannot be read"):
        await office.core.storage.read(
            lambda tx: office.core.registration.personal_data.read(tx, SUBJECT, other.id)
        )
    assert (
        await office.unblocking.release(office.own.officer, NUMBER, TOKEN, await office.asked())
    ).code == CODE


async def test_neither_code_nor_challenge_is_on_disk_or_on_record(
    office: Office, audited: Audited, caplog: pytest.LogCaptureFixture
) -> None:
    challenge = await office.asked()
    await office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge)
    files = b"".join(path.read_bytes() for path in office.core.home.path.glob("pkiserver.db*"))
    told = repr(await audited(office.core)) + caplog.text
    for secret in (CODE, challenge, challenge.replace("-", "")):
        assert secret.encode() not in files
        assert secret not in told
    actions = [one.action for one in await audited(office.core) if one.action.startswith("token.")]
    assert actions == ["token.receive", "token.code.keep", "token.unblock.ask", "token.unblock"]


async def test_who_has_left_gets_no_challenge(office: Office) -> None:
    [officer] = await office.core.registration.officers.current(SPECIALIST, NUMBER)
    now = office.clock.now()
    await office.core.storage.write(lambda tx: organizations.end_officer(tx, officer.id, now))
    with pytest.raises(ConflictError, match="no officer"):
        await office.unblocking.ask(office.own.officer, NUMBER, TOKEN)
    assert (await office.token()).state == "issued"  # nothing of it


async def test_a_token_that_was_given_back_gets_another_code_and_answers_no_old_challenge(
    office: Office,
) -> None:
    challenge = await office.asked()
    tokens = office.core.registration.tokens
    await tokens.move(office.own.officer, NUMBER, TOKEN, Event.RETURN, "letter 10")
    with pytest.raises(ConflictError, match="blank"):
        await office.unblocking.release(office.own.officer, NUMBER, TOKEN, challenge)
    wiped = await office.unblocking.take_over(SPECIALIST, NUMBER, TOKEN, "another-code")
    assert (wiped.number, wiped.challenge_hash) == (2, None)
