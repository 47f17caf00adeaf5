"""The words in which permission is asked: roles, actions, and who asks to do what, on what. Pure.

Which role may do which action stands in `permission_table`; `permissions` decides.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final


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
    HAND_OVER_CODES = "hand_over_codes"  # PIN, PUK and unblock code of what one personalised
    UNBLOCK_CARRIER = "unblock_carrier"
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


NEW_HOLDER: Final = 0  # whom a service identified, and who is not on record yet; rows begin at 1
ONESELF: Final = -1  # the actor, who is not on record yet


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
