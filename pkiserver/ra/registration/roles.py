"""Who may do what, where: one row for each role and action, and the second pair of eyes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pkiserver.errors import NotAuthorizedError


class Role(Enum):
    """What an actor is here."""

    ADMINISTRATOR = "administrator"
    SPECIALIST = "specialist"
    REGISTRAR = "registrar"
    SENIOR_REGISTRAR = "senior_registrar"
    ORG_OFFICER = "org_officer"
    PLANT = "plant"
    LEGAL = "legal"
    CA_OPERATOR = "ca_operator"
    AUDITOR = "auditor"
    SERVICE = "service"
    NATIONAL_FUND = "national_fund"  # a government system that follows the register
    CIVIL_REGISTRY = "civil_registry"  # the system that tells of deaths, changed names and cards


# All others are people's, and nobody acts on what is their own.
PROGRAMS: Final = frozenset({Role.PLANT, Role.SERVICE, Role.NATIONAL_FUND, Role.CIVIL_REGISTRY})


class Action(Enum):
    """What is asked to be done."""

    MANAGE_OFFICES = "manage_offices"
    MANAGE_ACTORS = "manage_actors"
    GRANT_ROLE = "grant_role"
    REGISTER_ORGANIZATION = "register_organization"
    MANAGE_CONTRACT = "manage_contract"
    MANAGE_OFFICERS = "manage_officers"
    READ_ORGANIZATION = "read_organization"
    APPLY = "apply"
    VERIFY_APPLICATION = "verify_application"
    ISSUE_APPLICATION = "issue_application"
    FINISH_APPLICATION = "finish_application"  # form confirmed, carrier handed over, archive unit closed
    WITHDRAW_APPLICATION = "withdraw_application"
    READ_APPLICATION = "read_application"
    READ_PERSON = "read_person"
    CORRECT_PERSON = "correct_person"
    ERASE_PERSON = "erase_person"
    REPLACE_DATA_KEY = "replace_data_key"
    HAND_OVER_ARCHIVE = "hand_over_archive"
    PURGE_DOCUMENTS = "purge_documents"
    READ_CASE = "read_case"
    DECIDE_CASE = "decide_case"
    PRINT_DECISION = "print_decision"
    REQUEST_CASE = "request_case"
    FEED_REGISTRY = "feed_registry"
    READ_LETTER = "read_letter"  # to whom and what, but never the words
    REVOKE_AGAINST_WILL = "revoke_against_will"
    ENTER_AUTHORITY_DECISION = "enter_authority_decision"
    BULK_ACT = "bulk_act"  # on very many certificates at once
    READ_BULK_ACT = "read_bulk_act"
    PULL_BATCH = "pull_batch"
    READ_BATCH = "read_batch"
    OPERATE_CA = "operate_ca"
    READ_AUDIT = "read_audit"
    FOLLOW_REGISTER = "follow_register"
    READ_REPORT = "read_report"
    MANAGE_WEBHOOKS = "manage_webhooks"
    READ_WEBHOOK = "read_webhook"
    READ_CERTIFICATE = "read_certificate"
    CHANGE_CERTIFICATE = "change_certificate"  # at its holder's request
    READ_ENROLLMENT = "read_enrollment"
    DECIDE_ENROLLMENT = "decide_enrollment"
    READ_ACTOR = "read_actor"
    READ_OFFICE = "read_office"


class Scope(Enum):
    """Where a role may do something."""

    ANYWHERE = "anywhere"
    OWN_OFFICE = "own_office"
    ORGANIZATIONS = "organizations"  # what belongs to any organisation
    OWN_ORGANIZATION = "own_organization"
    OWN_BATCH = "own_batch"
    OWN_HOLDER = "own_holder"  # the holder whom the service identified
    SUBSCRIBERS = "subscribers"  # what is issued to people and organisations
    INFRASTRUCTURE = "infrastructure"  # and to servers, devices, programs and administrators


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: where the role may, and whose second pair of eyes it takes; none: one person is enough."""

    scope: Scope
    second: frozenset[Role] = frozenset()


_ANYWHERE: Final = Rule(Scope.ANYWHERE)
_OFFICE: Final = Rule(Scope.OWN_OFFICE)
_ORGANIZATION: Final = Rule(Scope.OWN_ORGANIZATION)
_ORGANIZATIONS: Final = Rule(Scope.ORGANIZATIONS)
_HOLDER: Final = Rule(Scope.OWN_HOLDER)
_BATCH: Final = Rule(Scope.OWN_BATCH)
_SUBSCRIBERS: Final = Rule(Scope.SUBSCRIBERS)
_INFRASTRUCTURE: Final = Rule(Scope.INFRASTRUCTURE)


def _with(scope: Scope, *second: Role) -> Rule:
    return Rule(scope, frozenset(second))


_SENIOR = Role.SENIOR_REGISTRAR

PERMISSIONS: Final[Mapping[tuple[Role, Action], Rule]] = {
    (Role.ADMINISTRATOR, Action.MANAGE_OFFICES): _ANYWHERE,
    (Role.ADMINISTRATOR, Action.MANAGE_ACTORS): _ANYWHERE,
    (Role.ADMINISTRATOR, Action.GRANT_ROLE): _with(Scope.ANYWHERE, Role.ADMINISTRATOR),
    (Role.ADMINISTRATOR, Action.ERASE_PERSON): _with(Scope.ANYWHERE, Role.ADMINISTRATOR, _SENIOR),
    (Role.ADMINISTRATOR, Action.REPLACE_DATA_KEY): _ANYWHERE,
    (Role.ADMINISTRATOR, Action.HAND_OVER_ARCHIVE): _ANYWHERE,
    (Role.ADMINISTRATOR, Action.PURGE_DOCUMENTS): _with(Scope.ANYWHERE, Role.ADMINISTRATOR),
    (Role.SPECIALIST, Action.REGISTER_ORGANIZATION): _ANYWHERE,
    (Role.SPECIALIST, Action.MANAGE_CONTRACT): _ANYWHERE,
    (Role.SPECIALIST, Action.MANAGE_OFFICERS): _ANYWHERE,
    (Role.SPECIALIST, Action.READ_ORGANIZATION): _ANYWHERE,
    (Role.SPECIALIST, Action.APPLY): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.VERIFY_APPLICATION): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.ISSUE_APPLICATION): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.FINISH_APPLICATION): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.WITHDRAW_APPLICATION): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.READ_APPLICATION): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.READ_CASE): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.DECIDE_CASE): _ORGANIZATIONS,
    (Role.REGISTRAR, Action.APPLY): _OFFICE,
    (Role.REGISTRAR, Action.VERIFY_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.ISSUE_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.FINISH_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.WITHDRAW_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.READ_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.READ_PERSON): _ANYWHERE,  # no territorial limit (2.1); every reading is audited
    (Role.REGISTRAR, Action.REQUEST_CASE): _OFFICE,
    (Role.REGISTRAR, Action.READ_CASE): _OFFICE,
    (Role.REGISTRAR, Action.DECIDE_CASE): _OFFICE,
    (Role.REGISTRAR, Action.PRINT_DECISION): _OFFICE,
    (Role.REGISTRAR, Action.REVOKE_AGAINST_WILL): _with(Scope.OWN_OFFICE, _SENIOR),
    (_SENIOR, Action.READ_APPLICATION): _OFFICE,
    (_SENIOR, Action.READ_PERSON): _ANYWHERE,
    (_SENIOR, Action.CORRECT_PERSON): _ANYWHERE,
    (_SENIOR, Action.ERASE_PERSON): _with(Scope.ANYWHERE, Role.ADMINISTRATOR),
    (_SENIOR, Action.READ_CASE): _OFFICE,
    (_SENIOR, Action.DECIDE_CASE): _OFFICE,
    (_SENIOR, Action.PRINT_DECISION): _OFFICE,
    (_SENIOR, Action.REVOKE_AGAINST_WILL): _with(Scope.OWN_OFFICE, Role.REGISTRAR, _SENIOR),
    (Role.ORG_OFFICER, Action.MANAGE_OFFICERS): _ORGANIZATION,
    (Role.ORG_OFFICER, Action.READ_ORGANIZATION): _ORGANIZATION,
    (Role.ORG_OFFICER, Action.APPLY): _ORGANIZATION,
    (Role.ORG_OFFICER, Action.WITHDRAW_APPLICATION): _ORGANIZATION,
    (Role.ORG_OFFICER, Action.READ_APPLICATION): _ORGANIZATION,
    (Role.ORG_OFFICER, Action.REQUEST_CASE): _ORGANIZATION,
    (Role.ORG_OFFICER, Action.READ_CASE): _ORGANIZATION,
    (Role.PLANT, Action.PULL_BATCH): _BATCH,
    (Role.PLANT, Action.READ_BATCH): _BATCH,
    (Role.PLANT, Action.ISSUE_APPLICATION): _BATCH,
    (Role.LEGAL, Action.ENTER_AUTHORITY_DECISION): _with(Scope.ANYWHERE, Role.LEGAL, _SENIOR),
    (Role.LEGAL, Action.READ_CASE): _ANYWHERE,
    (Role.LEGAL, Action.PRINT_DECISION): _ANYWHERE,
    (Role.LEGAL, Action.BULK_ACT): _with(Scope.ANYWHERE, Role.LEGAL, _SENIOR),
    (Role.LEGAL, Action.READ_BULK_ACT): _ANYWHERE,
    (_SENIOR, Action.BULK_ACT): _with(Scope.ANYWHERE, Role.LEGAL),
    (_SENIOR, Action.READ_BULK_ACT): _ANYWHERE,
    # The end of a contract: two specialists, or one with legal.
    (Role.SPECIALIST, Action.BULK_ACT): _with(Scope.ORGANIZATIONS, Role.SPECIALIST, Role.LEGAL, _SENIOR),
    (Role.SPECIALIST, Action.READ_BULK_ACT): _ORGANIZATIONS,
    (Role.AUDITOR, Action.READ_BULK_ACT): _ANYWHERE,
    (Role.CIVIL_REGISTRY, Action.FEED_REGISTRY): _ANYWHERE,
    (Role.CA_OPERATOR, Action.OPERATE_CA): _with(Scope.ANYWHERE, Role.CA_OPERATOR),
    (Role.NATIONAL_FUND, Action.FOLLOW_REGISTER): _ANYWHERE,
    (Role.AUDITOR, Action.FOLLOW_REGISTER): _ANYWHERE,
    (Role.ADMINISTRATOR, Action.READ_REPORT): _ANYWHERE,
    (Role.AUDITOR, Action.READ_REPORT): _ANYWHERE,
    (_SENIOR, Action.READ_REPORT): _OFFICE,
    (Role.ADMINISTRATOR, Action.MANAGE_WEBHOOKS): _ANYWHERE,
    (Role.ADMINISTRATOR, Action.READ_WEBHOOK): _ANYWHERE,
    (Role.AUDITOR, Action.READ_WEBHOOK): _ANYWHERE,
    (Role.ADMINISTRATOR, Action.READ_LETTER): _ANYWHERE,
    (Role.AUDITOR, Action.READ_LETTER): _ANYWHERE,
    (Role.AUDITOR, Action.READ_AUDIT): _ANYWHERE,
    (Role.AUDITOR, Action.READ_CASE): _ANYWHERE,
    (Role.AUDITOR, Action.READ_PERSON): _ANYWHERE,
    (Role.AUDITOR, Action.READ_APPLICATION): _ANYWHERE,
    (Role.AUDITOR, Action.READ_ORGANIZATION): _ANYWHERE,
    (Role.AUDITOR, Action.READ_BATCH): _ANYWHERE,
    (Role.SERVICE, Action.APPLY): _HOLDER,
    (Role.SERVICE, Action.READ_APPLICATION): _HOLDER,
    (Role.SERVICE, Action.WITHDRAW_APPLICATION): _HOLDER,
    (Role.SERVICE, Action.REQUEST_CASE): _HOLDER,
    (Role.SERVICE, Action.READ_CASE): _HOLDER,
    # A door that registrars could open for themselves would be none: administrators and programs get their
    # certificates from administrators alone.
    (Role.ADMINISTRATOR, Action.READ_CERTIFICATE): _INFRASTRUCTURE,
    (Role.ADMINISTRATOR, Action.CHANGE_CERTIFICATE): _INFRASTRUCTURE,
    (Role.ADMINISTRATOR, Action.READ_ENROLLMENT): _INFRASTRUCTURE,
    (Role.ADMINISTRATOR, Action.DECIDE_ENROLLMENT): _INFRASTRUCTURE,
    (Role.ADMINISTRATOR, Action.READ_ACTOR): _ANYWHERE,
    (Role.REGISTRAR, Action.READ_CERTIFICATE): _SUBSCRIBERS,
    (Role.REGISTRAR, Action.CHANGE_CERTIFICATE): _SUBSCRIBERS,
    (Role.REGISTRAR, Action.READ_ENROLLMENT): _SUBSCRIBERS,
    (Role.REGISTRAR, Action.DECIDE_ENROLLMENT): _SUBSCRIBERS,
    (_SENIOR, Action.READ_CERTIFICATE): _SUBSCRIBERS,
    (_SENIOR, Action.CHANGE_CERTIFICATE): _SUBSCRIBERS,
    (_SENIOR, Action.READ_ENROLLMENT): _SUBSCRIBERS,
    (_SENIOR, Action.DECIDE_ENROLLMENT): _SUBSCRIBERS,
    (Role.AUDITOR, Action.READ_CERTIFICATE): _ANYWHERE,
    (Role.AUDITOR, Action.READ_ENROLLMENT): _ANYWHERE,
    (Role.AUDITOR, Action.READ_ACTOR): _ANYWHERE,
    **{(role, Action.READ_OFFICE): _ANYWHERE for role in Role},  # where offices are is no secret
}
# What concerns an applicant or a holder: nobody does it for themselves.
_NOT_FOR_ONESELF: Final = frozenset(
    {
        Action.VERIFY_APPLICATION,
        Action.ISSUE_APPLICATION,
        Action.FINISH_APPLICATION,
        Action.CORRECT_PERSON,
        Action.ERASE_PERSON,
        Action.DECIDE_CASE,
        Action.REVOKE_AGAINST_WILL,
        Action.ENTER_AUTHORITY_DECISION,
        Action.GRANT_ROLE,
        Action.APPLY,
        Action.WITHDRAW_APPLICATION,
        Action.REQUEST_CASE,
        Action.CHANGE_CERTIFICATE,
    }
)
NEW_HOLDER: Final = 0  # whom a service identified, and who is not on record yet; rows begin at 1
ONESELF: Final = -1  # the actor, who is not on record yet


def place_of(role: Role) -> str | None:
    """Return of what a role is granted: an office or organization; None: it is the same everywhere."""
    scopes = {rule.scope for (one, _), rule in PERMISSIONS.items() if one is role}
    if Scope.OWN_OFFICE in scopes:
        return "office"
    return "organization" if Scope.OWN_ORGANIZATION in scopes else None


@dataclass(frozen=True, slots=True)
class Identified:
    """Whom a service identified, and how: by what, and the reference under which that is on its record."""

    civil_id: str = field(repr=False)
    by: str
    reference: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """A role that an actor has, and its place; `everywhere` for those who serve all offices."""

    role: Role
    office: int | None = None
    organization: int | None = None
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a name for the audit log, roles, and the person behind it, where it is one on record.

    `number` is the actor's row. `on_behalf_of` is the holder whom a service identified for this request, as
    `identified` says; `NEW_HOLDER` for one who is not on record.
    """

    name: str
    assignments: tuple[Assignment, ...] = ()
    person: int | None = None
    on_behalf_of: int | None = None
    identified: Identified | None = None
    number: int | None = None

    def holder_of(self, civil_id: str, known: int | None) -> int | None:
        """Return whose a form is: a person on record, or the very one whom a service identified anew."""
        if known is None and self.identified is not None and self.identified.civil_id == civil_id:
            return NEW_HOLDER
        return known


@dataclass(frozen=True, slots=True)
class Target:
    """What is acted upon: where it belongs, whose it is, and which version of it is meant."""

    office: int | None = None
    organization: int | None = None
    infrastructure: bool | None = None  # of a certificate or enrolment: whose it is
    plant: str | None = None  # the actor to whom a batch was given
    holder: int | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """The second person's yes, and the version that they saw."""

    by: Actor
    seen_version: int | None


@dataclass(frozen=True, slots=True)
class Permission:
    """What is asked: who, what, on what; and the second person's yes, where there is one.

    `administrators` counts those there are: until there are two, one grants roles alone.
    """

    actor: Actor
    action: Action
    target: Target = field(default_factory=Target)
    approval: Approval | None = None
    administrators: int = 2


@dataclass(frozen=True, slots=True)
class Granted:
    """The row that allows it; `needs_approval` when it waits for the second pair of eyes."""

    role: Role
    rule: Rule
    needs_approval: bool


def decide(permission: Permission) -> Granted:
    """Return by which role it is allowed; `NotAuthorizedError` where none allows it, or for oneself."""
    actor, action, target = permission.actor, permission.action, permission.target
    if action in _NOT_FOR_ONESELF and is_own(actor, target.holder):
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
