"""The inventory of an organisation's tokens: received, assigned, returned, lost; several a person."""

import pytest

from pkiserver.core import Core
from pkiserver.errors import ConflictError, NotAuthorizedError, NotFoundError, RefusedError
from pkiserver.ra.registration.carriers import Event, State
from pkiserver.ra.registration.tokens import MAX_LIST_OCTETS, MAX_RECEIVED, Tokens, read_serials
from protocols.asn1.ocsp import CRLReason
from store import letters
from tests.ra.officer_setting import LIST, NUMBER, SPECIALIST, Organization
from tests.ra.test_government_events import in_use, renewed

OTHER = "7654321"


@pytest.fixture
async def own(core: Core) -> Organization:
    return await Organization.of(core)


@pytest.fixture
def tokens(core: Core) -> Tokens:
    return core.registration.tokens


async def test_a_list_is_taken_in_once(own: Organization, tokens: Tokens) -> None:
    taken = await tokens.receive(SPECIALIST, NUMBER, b"serial\nT-1\nt-2\r\n\nT-1\n", "act 12")
    assert (taken.received, taken.known) == (2, 0)
    again = await tokens.receive(SPECIALIST, NUMBER, b"T-2\nT-3", "act 12")
    assert (again.received, again.known) == (1, 1)
    found = await tokens.listed(own.officer, NUMBER)
    assert [(one.serial, one.state) for one in found] == [
        ("T-1", "blank"),
        ("T-2", "blank"),
        ("T-3", "blank"),
    ]
    behind = await tokens.listed(own.officer, NUMBER, after=found[0].id, limit=1)
    assert [one.serial for one in behind] == ["T-2"]
    with pytest.raises(NotAuthorizedError):
        await tokens.receive(own.officer, NUMBER, b"T-4", "act 13")


async def test_a_token_is_in_one_inventory(own: Organization, tokens: Tokens) -> None:
    await tokens.receive(SPECIALIST, NUMBER, b"T-1", "act 12")
    await own.core.registration.organizations.register("public", OTHER, "Other", "info@yam.gov.mn")
    with pytest.raises(ConflictError, match="another organisation"):
        await tokens.receive(SPECIALIST, OTHER, b"T-0\nT-1", "act 13")
    assert await tokens.listed(SPECIALIST, OTHER) == []  # nothing of the list
    with pytest.raises(NotFoundError):
        await tokens.move(SPECIALIST, OTHER, "T-1", Event.LOSE, "letter 9")


TOO_MANY = b"\n".join(b"T-%d" % number for number in range(MAX_RECEIVED + 1))


@pytest.mark.parametrize(
    "octets",
    [b"", b"serial\n", b"T 1", b"\xff", b"T" * 41, b"T\n" * MAX_LIST_OCTETS, TOO_MANY],
    ids=["empty", "header", "space", "no text", "long", "large", "many"],
)
def test_what_is_no_list(octets: bytes) -> None:
    with pytest.raises(RefusedError):
        read_serials(octets)


async def test_several_tokens_a_person_and_each_bears_its_certificate(
    own: Organization, tokens: Tokens
) -> None:
    await tokens.receive(SPECIALIST, NUMBER, b"T-1\nT-2", "act 12")
    first = await own.delivered(await own.issued())
    await own.core.registration.application_ends.close(SPECIALIST, first.id, first.version, "unit 7")
    second = await own.issued(LIST + "\n")
    for serial, made in (("T-1", first), ("T-2", second)):
        assigned = await tokens.assign(own.officer, NUMBER, serial, made.id)
        assert (assigned.state, assigned.person) == ("issued", made.person)
    with pytest.raises(ConflictError):
        await tokens.assign(own.officer, NUMBER, "T-1", first.id)
    lost = await tokens.move(own.officer, NUMBER, "T-1", Event.LOSE, "letter 9")
    assert lost.state == "lost"
    assert await own.state(first) == ("revoked", CRLReason.KEY_COMPROMISE.value)
    assert await own.state(second) == ("active", None)
    assert [one.serial for one in await tokens.listed(SPECIALIST, NUMBER, state=State.LOST)] == ["T-1"]


async def test_with_a_lost_token_ends_what_was_renewed_on_it_and_the_holder_is_told(
    own: Organization, tokens: Tokens
) -> None:
    await tokens.receive(SPECIALIST, NUMBER, b"T-1", "act 12")
    made = await own.issued()
    await tokens.assign(own.officer, NUMBER, "T-1", made.id)
    await renewed(own, made)
    assert await in_use(own) == 2
    await tokens.move(own.officer, NUMBER, "T-1", Event.LOSE, "letter 9")
    assert await in_use(own) == 0
    waiting = await own.core.storage.read(lambda tx: letters.in_state(tx, "waiting", None, 10))
    assert [one.template for one in waiting] == ["certificate-revoked"] * 2


async def test_a_returned_token_is_nobodys_and_what_was_on_it_is_revoked(
    own: Organization, tokens: Tokens
) -> None:
    await tokens.receive(SPECIALIST, NUMBER, b"T-1", "act 12")
    made = await own.issued()
    await tokens.assign(own.officer, NUMBER, "T-1", made.id)
    back = await tokens.move(own.officer, NUMBER, "T-1", Event.RETURN, "letter 10")
    assert (back.state, back.person) == ("blank", None)
    assert await own.state(made) == ("revoked", CRLReason.CESSATION_OF_OPERATION.value)
    with pytest.raises(RefusedError):
        await tokens.move(own.officer, NUMBER, "T-1", Event.ISSUE, "letter 11")
