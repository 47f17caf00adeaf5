"""The permission table cell by cell, and the second pair of eyes."""

from dataclasses import replace
from itertools import product

import pytest

from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.registration.permission_table import PERMISSIONS, Scope
from pkiserver.ra.registration.permissions import decide, reach, require
from pkiserver.ra.registration.roles import Action, Actor, Approval, Assignment, Permission, Role, Target

# A letter for each action in the order of `Action`: A anywhere, O office, G organisation, B batch,
# H identified holder, C of any organisation, S of subscribers, I of the infrastructure; small where a
# second person is needed; - no. DOMAIN, "Roles", read anew.
EXPECTED = {
    Role.ADMINISTRATOR: "AAa---- ------- -- -aAAa -----A-- -- -- - - -AAA IIIIAA",
    Role.SPECIALIST: "---AAAA CCCCCC- C- ----- CC------ cC -- - - ---- -----A",
    Role.REGISTRAR: "------- OOOOOOA O- ----- OOOO--o- -- -- - - ---- SSSS-A",
    Role.SENIOR_REGISTRAR: "------- -----OA -- Aa--- OOO---o- aA -- - - -O-- SSSS-A",
    Role.ORG_OFFICER: "-----GG G---GG- -G ----- G--G---- -- -- - - ---- -----A",
    Role.PLANT: "------- --B---- B- ----- -------- -- BB - - ---- -----A",
    Role.LEGAL: "------- ------- -- ----- A-A----a aA -- - - ---- -----A",
    Role.CA_OPERATOR: "------- ------- -- ----- -------- -- -- a - ---- -----A",
    Role.AUDITOR: "------A -----AA -- ----- A----A-- -A -A - A AA-A A-A-AA",
    Role.NATIONAL_FUND: "------- ------- -- ----- -------- -- -- - - A--- -----A",
    Role.CIVIL_REGISTRY: "------- ------- -- ----- ----A--- -- -- - - ---- -----A",
    Role.SERVICE: "------- H---HH- -H ----- H--H---- -- -- - - ---- -----A",
}
LETTERS = {
    Scope.ANYWHERE: "A",
    Scope.OWN_OFFICE: "O",
    Scope.OWN_ORGANIZATION: "G",
    Scope.ORGANIZATIONS: "C",
    Scope.OWN_BATCH: "B",
    Scope.OWN_HOLDER: "H",
    Scope.SUBSCRIBERS: "S",
    Scope.INFRASTRUCTURE: "I",
}
HERE = Target(office=1, organization=1, plant="one", holder=1, version=4)
ELSEWHERE = Target(office=2, organization=2, plant="other", holder=2, version=4)
NOWHERE = Target()


def expected(role: Role, action: Action) -> str:
    return EXPECTED[role].replace(" ", "")[list(Action).index(action)]


def actor_of(role: Role, name: str = "one") -> Actor:
    return Actor(name, (Assignment(role, office=1, organization=1),), on_behalf_of=1)


@pytest.mark.parametrize(("role", "action"), list(product(Role, Action)))
def test_every_cell(role: Role, action: Action) -> None:
    letter = expected(role, action)
    rule = PERMISSIONS.get((role, action))
    if rule is None:
        assert letter == "-"
    else:
        assert letter == (LETTERS[rule.scope].lower() if rule.second else LETTERS[rule.scope])
    actor = actor_of(role)
    here = replace(HERE, infrastructure=letter == "I")
    elsewhere = replace(ELSEWHERE, infrastructure=letter != "I")
    if letter.upper() == "C":
        elsewhere = replace(elsewhere, organization=None)
    for target, is_own in ((here, True), (elsewhere, False), (NOWHERE, False)):
        asked = Permission(actor, action, target)
        if letter == "-" or (letter.upper() != "A" and not is_own):
            with pytest.raises(NotAuthorizedError):
                decide(asked)
        else:
            granted = decide(asked)
            assert (granted.role, granted.needs_approval) == (role, letter.islower())


@pytest.mark.parametrize("action", Action)
def test_who_has_no_role_may_nothing(action: Action) -> None:
    with pytest.raises(NotAuthorizedError, match="may not"):
        decide(Permission(Actor("nobody", person=9, on_behalf_of=1), action, HERE))


@pytest.mark.parametrize(("role", "action"), [cell for cell, rule in PERMISSIONS.items() if rule.second])
def test_four_eyes(role: Role, action: Action) -> None:
    second = PERMISSIONS[role, action].second
    asked = Permission(actor_of(role), action, HERE)
    with pytest.raises(NotAuthorizedError, match="second person"):
        require(asked)
    for other in Role:
        approval = Approval(actor_of(other, "two"), 4)
        assert decide(replace(asked, approval=approval)).needs_approval is (other not in second)
    approval = Approval(actor_of(next(iter(second)), "two"), 4)
    assert require(replace(asked, approval=approval)).role is role
    for bad in (
        replace(approval, seen_version=3),
        replace(approval, seen_version=None),
        replace(approval, by=replace(approval.by, name="one")),
        replace(approval, by=replace(approval.by, person=1)),  # the holder
    ):
        with pytest.raises(NotAuthorizedError, match="second person"):
            require(replace(asked, approval=bad))


def test_one_person_with_two_names_is_no_second_person() -> None:
    first = replace(actor_of(Role.REGISTRAR), person=7)
    second = replace(actor_of(Role.SENIOR_REGISTRAR, "two"), person=7)
    asked = Permission(first, Action.REVOKE_AGAINST_WILL, HERE, Approval(second, 4))
    with pytest.raises(NotAuthorizedError, match="second person"):
        require(asked)
    assert require(replace(asked, approval=Approval(replace(second, person=8), 4)))


def test_the_second_person_of_another_office_does_not_count() -> None:
    away = Actor("two", (Assignment(Role.SENIOR_REGISTRAR, office=2),))
    asked = Permission(actor_of(Role.REGISTRAR), Action.REVOKE_AGAINST_WILL, HERE, Approval(away, 4))
    with pytest.raises(NotAuthorizedError, match="second person"):
        require(asked)


@pytest.mark.parametrize(
    "action",
    [Action.VERIFY_APPLICATION, Action.ISSUE_APPLICATION, Action.FINISH_APPLICATION, Action.DECIDE_CASE],
)
def test_nobody_acts_on_the_own_certificate_or_application(action: Action) -> None:
    registrar = replace(actor_of(Role.REGISTRAR), person=1)
    with pytest.raises(NotAuthorizedError, match="own certificate"):
        decide(Permission(registrar, action, HERE))
    assert decide(Permission(registrar, action, replace(HERE, holder=2)))


@pytest.mark.parametrize(("administrators", "alone"), [(0, True), (1, True), (2, False), (3, False)])
def test_granting_needs_a_second_person_once_there_are_two(administrators: int, alone: bool) -> None:
    asked = Permission(actor_of(Role.ADMINISTRATOR), Action.GRANT_ROLE, administrators=administrators)
    assert decide(asked).needs_approval is not alone


def test_who_serves_all_offices() -> None:
    actor = Actor("one", (Assignment(Role.REGISTRAR, everywhere=True),))
    assert decide(Permission(actor, Action.VERIFY_APPLICATION, ELSEWHERE)).role is Role.REGISTRAR


OF_OFFICES = [
    action
    for (role, action), rule in PERMISSIONS.items()
    if (role, rule.scope) == (Role.REGISTRAR, Scope.OWN_OFFICE)
]


@pytest.mark.parametrize("action", OF_OFFICES)
def test_who_serves_all_offices_does_not_serve_organisations_and_plants(action: Action) -> None:
    actor = Actor("one", (Assignment(Role.REGISTRAR, everywhere=True),))
    assert decide(Permission(actor, action))  # of no office and nobody else's: a renewal that a holder signed
    for target in (Target(organization=1), Target(plant="one")):
        with pytest.raises(NotAuthorizedError, match="here"):
            decide(Permission(actor, action, target))
    reached = reach(actor, action)
    assert (reached.everything, reached.every_office, reached.every_organization) == (False, True, False)


def test_the_operators_of_this_machine_may_report_for_every_plant() -> None:
    actor = Actor("user:root", (Assignment(Role.PLANT, everywhere=True),))
    assert decide(Permission(actor, Action.PULL_BATCH, ELSEWHERE)).role is Role.PLANT


def test_another_role_of_the_same_actor_counts_too() -> None:
    actor = Actor("one", (Assignment(Role.PLANT), Assignment(Role.REGISTRAR, office=1)))
    assert decide(Permission(actor, Action.APPLY, HERE)).role is Role.REGISTRAR
