"""Whether an actor may do something here, and how far what they see reaches. Pure.

The words are of `roles`, the rows of `permission_table`.
"""

from dataclasses import dataclass

from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.registration.permission_table import NOT_FOR_ONESELF, PERMISSIONS, Rule, Scope
from pkiserver.ra.registration.roles import ONESELF, Action, Actor, Assignment, Permission, Role, Target


@dataclass(frozen=True, slots=True)
class Granted:
    """The row that allows it; `needs_approval` when it waits for the second pair of eyes."""

    role: Role
    rule: Rule
    needs_approval: bool


def decide(permission: Permission) -> Granted:
    """Return by which role it is allowed; `NotAuthorizedError` where none allows it, or for oneself."""
    actor, action, target = permission.actor, permission.action, permission.target
    if action in NOT_FOR_ONESELF and is_own(actor, target.holder):
        raise NotAuthorizedError("nobody acts on the own certificate or application")
    waiting: Granted | None = None
    for assignment in actor.assignments:
        rule = PERMISSIONS.get((assignment.role, action))
        if rule is None or not _within(rule.scope, assignment, actor, target):
            continue
        if not _needs_second(rule, permission) or _approved(rule, permission):
            return Granted(assignment.role, rule, needs_approval=False)
        waiting = waiting or Granted(assignment.role, rule, needs_approval=True)
    if waiting is None:
        raise NotAuthorizedError(f"{actor.name} may not {action.value.replace('_', ' ')} here")
    return waiting


def is_own(actor: Actor, holder: int | None) -> bool:
    """Return whether something that is this holder's is the actor's own."""
    return holder is not None and holder in (actor.person, ONESELF)


def may_anywhere(actor: Actor, action: Action) -> None:
    """Raise `NotAuthorizedError` unless some role of the actor may do this somewhere."""
    if not any((one.role, action) in PERMISSIONS for one in actor.assignments):
        raise NotAuthorizedError(f"{actor.name} may not {action.value.replace('_', ' ')}")


@dataclass(frozen=True, slots=True)
class Reach:
    """Of what an actor may see lists: all of it, or of these offices or organisations, or this holder.

    `every_office` is all but what is of an organisation alone.
    """

    everything: bool = False
    every_office: bool = False
    offices: frozenset[int] = frozenset()
    holder: int | None = None
    organizations: frozenset[int] = frozenset()
    every_organization: bool = False


def reach(actor: Actor, action: Action) -> Reach:
    """Return how far an action of an actor reaches, over all of its roles; nowhere for what is no row."""
    everything, every_office, every_organization = False, False, False
    offices, organizations, holder = set[int](), set[int](), None
    for one in actor.assignments:
        rule = PERMISSIONS.get((one.role, action))
        scope = rule.scope if rule is not None else None
        everything |= scope is Scope.ANYWHERE
        every_office |= scope is Scope.OWN_OFFICE and one.everywhere
        if scope is Scope.OWN_OFFICE and one.office is not None:
            offices.add(one.office)
        if scope is Scope.OWN_HOLDER:
            holder = actor.on_behalf_of
        if scope is Scope.OWN_ORGANIZATION and one.organization is not None:
            organizations.add(one.organization)
        every_organization |= scope is Scope.ORGANIZATIONS
    everything |= every_office and every_organization
    return Reach(
        everything, every_office, frozenset(offices), holder, frozenset(organizations), every_organization
    )


def require(permission: Permission) -> Granted:
    """Return by which role it is allowed now; `NotAuthorizedError` also where an approval is missing."""
    granted = decide(permission)
    if granted.needs_approval:
        roles = " or ".join(sorted(role.value for role in granted.rule.second))
        raise NotAuthorizedError(
            f"{permission.action.value.replace('_', ' ')} needs a second person: {roles}"
        )
    return granted


def _needs_second(rule: Rule, permission: Permission) -> bool:
    alone = permission.action is Action.GRANT_ROLE and permission.administrators < 2
    return bool(rule.second) and not alone


def _approved(rule: Rule, permission: Permission) -> bool:
    """The second person is another one, has a role for it in this place, and saw this very version."""
    approval, actor, target = permission.approval, permission.actor, permission.target
    if approval is None or approval.by.name == actor.name or approval.seen_version != target.version:
        return False
    if approval.by.person is not None and approval.by.person in (actor.person, target.holder):
        return False
    return any(
        one.role in rule.second and _within(rule.scope, one, approval.by, target)
        for one in approval.by.assignments
    )


def _within(scope: Scope, assignment: Assignment, actor: Actor, target: Target) -> bool:
    """Return whether a target lies where an assignment reaches; what has no place is in nobody's own."""
    if scope is Scope.ANYWHERE:
        return True
    if scope is Scope.OWN_OFFICE:
        if target.office is None:  # of a plant or an organisation: not of those who serve all offices either
            return assignment.everywhere and target.plant is None and target.organization is None
        return assignment.everywhere or assignment.office == target.office
    if scope is Scope.ORGANIZATIONS:
        return target.organization is not None
    if scope is Scope.OWN_ORGANIZATION:
        return target.organization is not None and assignment.organization == target.organization
    if scope in (Scope.SUBSCRIBERS, Scope.INFRASTRUCTURE):
        return target.infrastructure is (scope is Scope.INFRASTRUCTURE)
    if scope is Scope.OWN_BATCH:
        return assignment.everywhere or (target.plant is not None and target.plant == actor.name)
    return target.holder is not None and actor.on_behalf_of == target.holder
