"""The rules between the keys of one profile: a table, one rule and its source a row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from config.errors import Broken

# Upper bounds in characters: RFC 5280 appendix A.1 (ub-…). Its 32768 for names, and X.520's lack of a bound
# for organizationIdentifier, are cut to what a certificate on a card can hold.
ATTRIBUTE_BOUNDS: Final = {
    "countryName": 2,
    "stateOrProvinceName": 128,
    "localityName": 128,
    "organizationName": 64,
    "organizationalUnitName": 64,
    "organizationIdentifier": 256,
    "title": 64,
    "serialNumber": 64,
    "surname": 128,
    "givenName": 128,
    "commonName": 64,
}

_SEMANTICS_ATTRIBUTE: Final = {"natural": "serialNumber", "legal": "organizationIdentifier"}
_NEEDS_SIGNATURE: Final = frozenset({"clientAuth", "serverAuth", "OCSPSigning", "cmcRA", "cmcCA", "cmKGA"})
_CA_USAGE: Final = frozenset({"keyCertSign", "cRLSign"})
# What keyUsage asks of the key, of which no kind can do the others'; every kind can sign.
_ALGORITHM_OF_USAGE: Final = {"keyEncipherment": "rsa", "dataEncipherment": "rsa", "keyAgreement": "ec"}


@dataclass(frozen=True, slots=True)
class ProfileFacts:
    """What the rules look at."""

    kind: str
    issuer: str | None
    has_lifetime: bool
    attributes: tuple[str, ...]
    san_kinds: tuple[str, ...]
    san_required: bool
    path_length: int | None
    key_algorithms: frozenset[str]  # of the kinds of key: rsa, ec, ed25519
    key_usage: frozenset[str]
    extended_key_usage: frozenset[str]
    policy_oids: tuple[str, ...]
    semantics: str | None
    ocsp_nocheck: bool
    enroll: bool
    reenroll: tuple[str, ...]
    est_authentication: frozenset[str]
    trusts_issuers: bool
    needs_approval: frozenset[str]  # required attributes of the subject that a credential says
    approval: bool
    change_subject: bool
    server_keygen: bool
    has_qc_statements: bool

    @property
    def is_end_entity(self) -> bool:
        """True for certificates of subscribers."""
        return self.kind == "end-entity"

    @property
    def is_ca(self) -> bool:
        """True for certificates of authorities."""
        return self.kind in ("root-ca", "issuing-ca")


def authenticates_tls_client(key_usage: object, extended_key_usage: object) -> bool:
    """Return whether TLS takes such a certificate as a client's (RFC 8446 §4.4.2.4, RFC 5280 §4.2.1.12)."""
    return _holds(key_usage, "digitalSignature") and _holds(extended_key_usage, "clientAuth")


def _keys_can_do(facts: ProfileFacts) -> bool:
    """Return whether a key of every kind can do all that key_usage says."""
    needed = {_ALGORITHM_OF_USAGE[usage] for usage in facts.key_usage & _ALGORITHM_OF_USAGE.keys()}
    return all(facts.key_algorithms == {algorithm} for algorithm in needed)


def _holds(names: object, wanted: str) -> bool:
    """Return whether a list, perhaps not validated yet, holds a name."""
    return isinstance(names, list | tuple | frozenset) and wanted in names


@dataclass(frozen=True, slots=True)
class Rule:
    """`holds` is asked of a profile's facts; `problem` and `rule` say at `key` what is broken."""

    key: str
    problem: str
    rule: str
    holds: Callable[[ProfileFacts], bool]


RULES: Final = (
    Rule(
        "issuer",
        "missing or of no use",
        "end-entity profiles name their issuer, the others none",
        lambda facts: facts.is_end_entity == bool(facts.issuer),
    ),
    Rule(
        "lifetime",
        "missing or of no use",
        "end-entity profiles have a lifetime; for the others [authorities] says it",
        lambda facts: facts.is_end_entity == facts.has_lifetime,
    ),
    Rule(
        "subject",
        "an attribute stands twice",
        "each attribute once",
        lambda facts: len(set(facts.attributes)) == len(facts.attributes),
    ),
    Rule(
        "subject",
        "of no use",
        "[authorities] says the names of authorities and responders",
        lambda facts: facts.is_end_entity or not facts.attributes,
    ),
    Rule(
        "subject",
        "neither subject nor required san",
        "a certificate names its holder (RFC 5280 §4.1.2.6)",
        lambda facts: not facts.is_end_entity or bool(facts.attributes) or facts.san_required,
    ),
    Rule(
        "san",
        "a kind stands twice",
        "each kind once",
        lambda facts: len(set(facts.san_kinds)) == len(facts.san_kinds),
    ),
    Rule(
        "san_required",
        "no kind of san is allowed",
        "san_required needs [[san]]",
        lambda facts: not facts.san_required or bool(facts.san_kinds),
    ),
    Rule(
        "path_length",
        "of no use",
        "only CA certificates have a pathLenConstraint (RFC 5280 §4.2.1.9)",
        lambda facts: facts.is_ca or facts.path_length is None,
    ),
    Rule(
        "key_usage",
        "not the usage of this kind",
        "CAs have keyCertSign and cRLSign, the others neither (RFC 5280 §4.2.1.3)",
        lambda facts: facts.key_usage >= _CA_USAGE if facts.is_ca else not facts.key_usage & _CA_USAGE,
    ),
    Rule(
        "key_usage",
        "not what every kind in keys can do",
        "keyEncipherment and dataEncipherment are of RSA keys alone, keyAgreement of EC keys alone: two "
        "profiles where both are wanted (RFC 3279 §2.3.1, RFC 5480 §3, RFC 8410 §5)",
        _keys_can_do,
    ),
    Rule(
        "extended_key_usage",
        "needs digitalSignature",
        "key_usage and extended_key_usage agree (RFC 5280 §4.2.1.12)",
        lambda facts: (
            not facts.extended_key_usage & _NEEDS_SIGNATURE or "digitalSignature" in facts.key_usage
        ),
    ),
    Rule(
        "extended_key_usage",
        "OCSPSigning is wrongly given",
        "responders have OCSPSigning alone, the others never (RFC 6960 §4.2.2.2)",
        lambda facts: (
            (facts.extended_key_usage == {"OCSPSigning"})
            if facts.kind == "ocsp-responder"
            else "OCSPSigning" not in facts.extended_key_usage
        ),
    ),
    Rule(
        "ocsp_nocheck",
        "of no use",
        "only responders have id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1)",
        lambda facts: facts.kind == "ocsp-responder" or not facts.ocsp_nocheck,
    ),
    Rule(
        "policies",
        "an OID stands twice",
        "each policy once (RFC 5280 §4.2.1.4)",
        lambda facts: len(set(facts.policy_oids)) == len(facts.policy_oids),
    ),
    Rule(
        "qc_statements.semantics",
        "there is no attribute to which it gives meaning",
        "natural explains serialNumber, legal organizationIdentifier (EN 319 412-1 §5.1)",
        lambda facts: facts.semantics is None or _SEMANTICS_ATTRIBUTE[facts.semantics] in facts.attributes,
    ),
    Rule(
        "enroll",
        "not allowed",
        "only end-entity profiles are enrolled",
        lambda facts: facts.is_end_entity or not facts.enroll,
    ),
    Rule(
        "reenroll",
        "the holder cannot authenticate a TLS client",
        "re-enrolment needs digitalSignature and clientAuth (RFC 7030 §3.3.2)",
        lambda facts: (
            not facts.reenroll
            or (facts.is_end_entity and authenticates_tls_client(facts.key_usage, facts.extended_key_usage))
        ),
    ),
    Rule(
        "trusted_issuers",
        "of no use",
        "only est_authentication with a certificate looks at trusted_issuers",
        lambda facts: (
            not facts.trusts_issuers
            or bool(facts.est_authentication & {"certificate", "credential+certificate"})
        ),
    ),
    Rule(
        "trusted_issuers",
        "missing",
        "est_authentication by certificate alone names whose certificates",
        lambda facts: "certificate" not in facts.est_authentication or facts.trusts_issuers,
    ),
    Rule(
        "est_authentication",
        "the certificate does not say all that a credential would",
        "by certificate alone: of the attributes of source credential, serialNumber is required and no other",
        lambda facts: (
            "certificate" not in facts.est_authentication or facts.needs_approval == {"serialNumber"}
        ),
    ),
    Rule(
        "approval",
        "of no use",
        "only what is enrolled awaits approval",
        lambda facts: not facts.approval or facts.enroll,
    ),
    Rule(
        "change_subject",
        "of no use",
        "only what is re-enrolled may change its subject",
        lambda facts: not facts.change_subject or bool(facts.reenroll),
    ),
    Rule(
        "server_keygen",
        "not allowed",
        "a key for signatures that bind is its holder's alone: none with nonRepudiation or qc_statements",
        lambda facts: (
            not facts.server_keygen or not ("nonRepudiation" in facts.key_usage or facts.has_qc_statements)
        ),
    ),
    Rule(
        "server_keygen",
        "of no use",
        "keys are made for what is enrolled; none where somebody approves, who has seen the key",
        lambda facts: not facts.server_keygen or (facts.enroll and not facts.approval),
    ),
)


def _broken(facts: ProfileFacts) -> Iterator[Broken]:
    for rule in RULES:
        if not rule.holds(facts):
            yield Broken(rule.problem, rule.rule, rule.key)


def broken_rules(facts: ProfileFacts) -> list[Broken]:
    """Return every rule that a profile breaks."""
    return list(_broken(facts))
