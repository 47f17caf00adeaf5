"""Certificate profiles: what a certificate of one kind holds, where it comes from, who issues it.

A profile is one TOML file; its name is the file's. Words are those of RFC 5280 and RFC 3739.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import (
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from config.base import Section
from config.errors import ConfigError, Finding, RuleError, refuse
from config.profile_fields import (
    Access,
    AlternativeName,
    Attribute,
    ExtendedKeyUsageName,
    KeyUsageName,
    Policy,
    QCStatements,
)
from config.profile_rules import ProfileFacts, authenticates_tls_client, broken_rules
from config.units import CertificateLifetime, KeyKind, Lifetime, PositiveDuration
from config.validation import parse_toml, read_file, validate

SHIPPED_PROFILES: Final = Path(__file__).parent / "profiles"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_EST_OPERATIONS: Final = frozenset(  # no label is named as one of them (RFC 7030 §3.2.2)
    {"cacerts", "csrattrs", "fullcmc", "serverkeygen", "simpleenroll", "simplereenroll"}
)

Kind = Literal["end-entity", "root-ca", "issuing-ca", "ocsp-responder"]
ESTAuthentication = Literal["credential", "certificate", "credential+certificate"]


class Profile(Section):
    """One certificate profile."""

    name: str
    description: str = Field(min_length=1, max_length=500)
    kind: Kind = "end-entity"
    issuer: str | None = Field(None, min_length=1)  # an authority; none in the kinds that each one issues
    lifetime: CertificateLifetime | None = None  # None in the kinds whose lifetime [authorities] says
    keys: tuple[KeyKind, ...] = Field(min_length=1)  # rsa:2048 means 2048 bits or more
    subject: tuple[Attribute, ...] = ()  # in the order of the certificate
    san: tuple[AlternativeName, ...] = ()
    san_required: StrictBool = False  # at least one name, of whichever kind
    path_length: StrictInt | None = Field(None, ge=0, le=8)
    key_usage: tuple[KeyUsageName, ...] = Field(min_length=1)
    extended_key_usage: tuple[ExtendedKeyUsageName, ...] = ()
    policies: tuple[Policy, ...] = ()
    qc_statements: QCStatements | None = None
    authority_info_access: Access = Access()
    crl_distribution_points: StrictBool = True
    ocsp_nocheck: StrictBool = False
    enroll: StrictBool = False  # whether EST issues it; unless said, true for end entities
    reenroll: tuple[str, ...] = ()  # what its holder may re-enrol over TLS; unless said, see `_defaults`
    renewal_window: PositiveDuration | None = None  # how long before its end it may be renewed; None: ever
    est_authentication: tuple[ESTAuthentication, ...] = Field(
        ("credential",), min_length=1
    )  # any one of them
    trusted_issuers: tuple[
        str, ...
    ] = ()  # PEM files, relative to the home: whose certificates may enrol first
    pop_linking: Literal["optional", "required"] = "optional"  # tls-unique in the request (RFC 7030 §3.5)
    approval: StrictBool = False  # whether somebody has to approve each certificate first (202 meanwhile)
    change_subject: StrictBool = False  # whether re-enrolment may ask for another subject (RFC 6402 §2.8)
    implicit_confirm: StrictBool = True  # whether CMP clients may leave out certConf (RFC 9810 §5.1.1.1)
    server_keygen: StrictBool = False  # whether serverkeygen makes keys for it, of the first kind in `keys`

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, value: Any) -> Any:
        """Fill in what follows from other keys: a holder re-enrols the own profile where TLS takes it."""
        if not isinstance(value, Mapping):
            return value
        filled = {"enroll": value.get("kind", "end-entity") == "end-entity", **value}
        usage = (value.get("key_usage"), value.get("extended_key_usage"))
        if filled["enroll"] is True and authenticates_tls_client(*usage):
            filled.setdefault("reenroll", [filled.get("name")])
        return filled

    @field_validator(
        "key_usage", "extended_key_usage", "keys", "reenroll", "est_authentication", "trusted_issuers"
    )
    @classmethod
    def _no_repeats(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise refuse("a value stands twice", f"{info.field_name} is a set")
        return value

    @model_validator(mode="after")
    def _rules(self) -> "Profile":
        broken = broken_rules(self.facts)
        if broken:
            raise RuleError(*broken)
        return self

    @property
    def facts(self) -> ProfileFacts:
        """What the rules between the keys of a profile look at."""
        return ProfileFacts(
            kind=self.kind,
            issuer=self.issuer,
            has_lifetime=self.lifetime is not None,
            attributes=tuple(one.attribute for one in self.subject),
            san_kinds=tuple(one.kind for one in self.san),
            san_required=self.san_required,
            path_length=self.path_length,
            key_algorithms=frozenset(kind.partition(":")[0] for kind in self.keys),
            key_usage=frozenset(self.key_usage),
            extended_key_usage=frozenset(self.extended_key_usage),
            policy_oids=tuple(one.oid for one in self.policies),
            semantics=self.qc_statements.semantics if self.qc_statements else None,
            ocsp_nocheck=self.ocsp_nocheck,
            enroll=self.enroll,
            reenroll=self.reenroll,
            est_authentication=frozenset(self.est_authentication),
            trusts_issuers=bool(self.trusted_issuers),
            needs_approval=frozenset(
                one.attribute for one in self.subject if one.source == "credential" and one.required
            ),
            approval=self.approval,
            change_subject=self.change_subject,
            server_keygen=self.server_keygen,
            has_qc_statements=self.qc_statements is not None,
        )

    def with_lifetime(self, lifetime: Lifetime) -> Self:
        """Return this profile with the lifetime that [authorities] says, for authorities and responders."""
        return self.model_copy(update={"lifetime": lifetime})


def load_profiles(*folders: Path) -> dict[str, Profile]:
    """Return the profiles of the folders by name; a later folder's file replaces an earlier one's.

    A folder that does not exist holds none. Raises `ConfigError` with every finding in every file.
    """
    paths = {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}
    profiles: dict[str, Profile] = {}
    findings: list[Finding] = []
    for name, path in sorted(paths.items()):
        try:
            profiles[name] = load_profile(path)
        except ConfigError as error:
            findings += error.findings
    findings += _unknown_reenrolments(profiles, paths)
    if findings:
        raise ConfigError(findings)
    return profiles


def load_profile(path: Path) -> Profile:
    """Return the profile of one file; `ConfigError` with every finding."""
    if _NAME.fullmatch(path.stem) is None:
        raise ConfigError(
            [Finding(path.name, "", "no name of a profile", "lower-case letters, digits, hyphens")]
        )
    if path.stem in _EST_OPERATIONS:
        rule = "a profile's name is a label of EST, which is not that of an operation (RFC 7030 §3.2.2)"
        raise ConfigError([Finding(path.name, "", "the name of an operation", rule)])
    return parse_profile(path.stem, read_file(path), path.name)


@lru_cache(maxsize=256)  # a command reads the files to check them, and again to work by them
def parse_profile(name: str, data: bytes, file: str) -> Profile:
    """Return the profile of this name in the octets of a file; `ConfigError` with every finding."""
    return _profile(name, parse_toml(data, file), file)


def _profile(name: str, content: Mapping[str, Any], file: str) -> Profile:
    if "name" in content:
        raise ConfigError([Finding(file, "name", "not allowed", "a profile is named by its file")])
    return validate(Profile, {**content, "name": name}, file)


def _unknown_reenrolments(profiles: Mapping[str, Profile], paths: Mapping[str, Path]) -> list[Finding]:
    return [
        Finding(
            paths[name].name, "reenroll", f"there is no profile {other!r}", "names of end-entity profiles"
        )
        for name, profile in profiles.items()
        for other in profile.reenroll
        if other not in paths or (other in profiles and profiles[other].kind != "end-entity")
    ]


def check_issuers(profiles: Mapping[str, Profile], authorities: Mapping[str, object]) -> None:
    """Raise `ConfigError` for each profile whose issuer is no authority of the configuration."""
    findings = [
        Finding(
            f"{name}.toml", "issuer", f"there is no authority {profile.issuer!r}", "a name in [authorities]"
        )
        for name, profile in sorted(profiles.items())
        if profile.issuer and profile.issuer not in authorities
    ]
    if findings:
        raise ConfigError(findings)
