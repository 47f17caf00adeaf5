"""Who may do what, where, and by whose second pair of eyes: one row for each role and action.

The words are of `roles`; `permissions` decides by these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pkiserver.ra.registration.roles import Action, Role


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
    (Role.SPECIALIST, Action.HAND_OVER_CODES): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.READ_CASE): _ORGANIZATIONS,
    (Role.SPECIALIST, Action.DECIDE_CASE): _ORGANIZATIONS,
    (Role.REGISTRAR, Action.APPLY): _OFFICE,
    (Role.REGISTRAR, Action.VERIFY_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.ISSUE_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.FINISH_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.WITHDRAW_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.READ_APPLICATION): _OFFICE,
    (Role.REGISTRAR, Action.READ_PERSON): _ANYWHERE,  # no territorial limit (2.1); every reading is audited
    (Role.REGISTRAR, Action.HAND_OVER_CODES): _OFFICE,
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
    (Role.ORG_OFFICER, Action.UNBLOCK_CARRIER): _ORGANIZATION,
    (Role.ORG_OFFICER, Action.REQUEST_CASE): _ORGANIZATION,
    (Role.ORG_OFFICER, Action.READ_CASE): _ORGANIZATION,
    (Role.PLANT, Action.PULL_BATCH): _BATCH,
    (Role.PLANT, Action.READ_BATCH): _BATCH,
    (Role.PLANT, Action.HAND_OVER_CODES): _BATCH,
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
    (Role.SERVICE, Action.UNBLOCK_CARRIER): _HOLDER,
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
NOT_FOR_ONESELF: Final = frozenset(
    {
        Action.VERIFY_APPLICATION,
        Action.ISSUE_APPLICATION,
        Action.FINISH_APPLICATION,
        Action.HAND_OVER_CODES,
        Action.CORRECT_PERSON,
        Action.ERASE_PERSON,
        Action.DECIDE_CASE,
        Action.REVOKE_AGAINST_WILL,
        Action.ENTER_AUTHORITY_DECISION,
        Action.GRANT_ROLE,
        Action.APPLY,
        Action.WITHDRAW_APPLICATION,
        Action.REQUEST_CASE,
        Action.BULK_ACT,  # on certificates that are named one by one
        Action.CHANGE_CERTIFICATE,
    }
)


def place_of(role: Role) -> str | None:
    """Return of what a role is granted: an office or organization; None: it is the same everywhere."""
    scopes = {rule.scope for (one, _), rule in PERMISSIONS.items() if one is role}
    if Scope.OWN_OFFICE in scopes:
        return "office"
    return "organization" if Scope.OWN_ORGANIZATION in scopes else None
