"""Profile files: the shipped ones, overriding, and every error in every file at once."""

from pathlib import Path

import pytest

import config
from config.errors import ConfigError
from config.profile import SHIPPED_PROFILES, check_issuers, load_profile, load_profiles
from config.profile_rules import RULES
from config.schema import Settings
from config.units import Lifetime

GOOD = """
description = "x"
issuer = "infrastructure"
lifetime = "30d"
keys = ["ec:P-256"]
key_usage = ["digitalSignature"]
[[subject]]
attribute = "commonName"
source = "credential"
"""


def findings(folder: Path, **files: str) -> list[str]:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_profiles(folder)
    return [f"{finding.file}: {finding.key}" for finding in caught.value.findings]


def test_shipped_profiles() -> None:
    profiles = load_profiles(SHIPPED_PROFILES)
    assert {name: profile.reenroll for name, profile in profiles.items() if profile.enroll} == {
        "administrator": ("administrator",),
        "citizen-authentication": ("citizen-authentication", "citizen-signature"),
        "citizen-signature": (),
        "device": ("device",),
        "government-token": ("government-token",),
        "registration-client": ("registration-client",),
        "tls-server": (),
    }
    assert {name for name, profile in profiles.items() if not profile.enroll} == {
        "root-ca",
        "issuing-ca",
        "ocsp-responder",
        "root-link",
        "ceremony-transcript",
        "archive",
        "audit-log",
        "cmc-server",
        "cross-ca",
    }
    assert not any(profile.server_keygen for profile in profiles.values())
    check_issuers(profiles, Settings().authorities)
    signature = profiles["citizen-signature"]
    assert signature.key_usage == ("nonRepudiation",)
    assert signature.lifetime == Lifetime(years=5)
    issuing = {name for name, profile in profiles.items() if profile.kind == "issuing-ca"}
    assert {name for name in issuing if profiles[name].path_length != 0} == {
        "root-link"
    }  # the whole tree is below


def test_shipped_profiles_take_nothing_from_requests() -> None:
    sources = {
        rule.source
        for profile in load_profiles(SHIPPED_PROFILES).values()
        for rule in (*profile.subject, *profile.san)
    }
    assert sources == {"credential", "fixed"}


def test_examples_load_beside_the_shipped_ones() -> None:
    examples = Path(config.__file__).parent / "examples" / "profiles"
    profiles = load_profiles(SHIPPED_PROFILES, examples)
    assert "sensor" in profiles
    check_issuers(profiles, Settings().authorities)


def test_a_later_folder_overrides_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    (tmp_path / "tls-server.toml").write_text(GOOD)
    profiles = load_profiles(SHIPPED_PROFILES, tmp_path, tmp_path / "none")
    assert profiles["tls-server"].description == "x"
    assert len(profiles) == len(load_profiles(SHIPPED_PROFILES))


def test_unknown_issuers_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD.replace("infrastructure", "nobody"))
    with pytest.raises(ConfigError, match=r"a\.toml: issuer: there is no authority 'nobody'"):
        check_issuers(load_profiles(tmp_path), Settings().authorities)


@pytest.mark.parametrize(
    ("keys", "usage"),
    [
        ('"rsa:2048", "rsa:4096"', '"digitalSignature", "keyEncipherment", "dataEncipherment"'),
        ('"ec:P-256", "ec:P-384"', '"digitalSignature", "keyAgreement"'),
        ('"ec:P-256", "rsa:2048", "ed25519"', '"digitalSignature", "nonRepudiation"'),
    ],
)
def test_what_every_kind_of_key_can_do(tmp_path: Path, keys: str, usage: str) -> None:
    """RFC 3279 §2.3.1, RFC 5480 §3."""
    (tmp_path / "a.toml").write_text(GOOD.replace('"ec:P-256"', keys).replace('"digitalSignature"', usage))
    assert load_profiles(tmp_path)["a"].keys


def test_with_lifetime() -> None:
    profile = load_profile(SHIPPED_PROFILES / "issuing-ca.toml")
    assert profile.lifetime is None
    assert profile.with_lifetime(Lifetime(years=1)).lifetime == Lifetime(years=1)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("issuer = ", "issuers = "), "issuers"),
        (('lifetime = "30d"', ""), "lifetime"),
        (('lifetime = "30d"', 'lifetime = "30"'), "lifetime"),
        (('"ec:P-256"', '"ec:P-255"'), "keys[0]"),
        (('"ec:P-256"', '"ec:P-256", "ec:P-256"'), "keys"),
        (('["digitalSignature"]', "[]"), "key_usage"),
        (('"digitalSignature"', '"signing"'), "key_usage[0]"),
        (('"digitalSignature"', '"keyCertSign"'), "key_usage"),
        (('"digitalSignature"', '"keyEncipherment"'), "key_usage"),
        (('"digitalSignature"', '"keyEncipherment", "keyAgreement"'), "key_usage"),
        (
            ('"ec:P-256"]\nkey_usage = ["', '"ec:P-256", "rsa:2048"]\nkey_usage = ["keyAgreement", "'),
            "key_usage",
        ),
        (('"ec:P-256"]\nkey_usage = ["', '"ed25519"]\nkey_usage = ["keyAgreement", "'), "key_usage"),
        (('"ec:P-256"]\nkey_usage = ["', '"rsa:2048"]\nkey_usage = ["keyAgreement", "'), "key_usage"),
        (('"ec:P-256"]\nkey_usage = ["', '"ec:P-256"]\nkey_usage = ["dataEncipherment", "'), "key_usage"),
        (('"commonName"', '"favouriteColour"'), "subject[0].attribute"),
        (('"credential"', '"fixed"'), "subject[0].value"),
        (('"credential"', '"credential"\nvalue = "x"'), "subject[0].value"),
        (('"credential"', '"credential"\npattern = "("'), "subject[0].pattern"),
        (('"credential"', '"credential"\nmax_length = 65'), "subject[0].max_length"),
        (('"credential"', '"fixed"\nvalue = "x"\npattern = "y"'), "subject[0].value"),
        (("description", 'name = "x"\ndescription'), "name"),
        (("issuer", "ocsp_nocheck = true\nissuer"), "ocsp_nocheck"),
        (("issuer", "path_length = 0\nissuer"), "path_length"),
        (("issuer", "san_required = true\nissuer"), "san_required"),
        (("issuer", 'extended_key_usage = ["OCSPSigning"]\nissuer'), "extended_key_usage"),
        (("issuer", 'reenroll = ["a"]\nissuer'), "reenroll"),
        (("issuer", "est_authentication = []\nissuer"), "est_authentication"),
        (("issuer", 'est_authentication = ["password"]\nissuer'), "est_authentication[0]"),
        (("issuer", 'est_authentication = ["certificate"]\nissuer'), "trusted_issuers"),
        (("issuer", 'trusted_issuers = ["a.pem"]\nissuer'), "trusted_issuers"),
        (
            ("issuer", 'est_authentication = ["certificate"]\ntrusted_issuers = ["a.pem"]\nissuer'),
            "est_authentication",  # the certificate would have to say the commonName
        ),
        (("issuer", 'pop_linking = "maybe"\nissuer'), "pop_linking"),
        (("issuer", "change_subject = true\nissuer"), "change_subject"),
        (("issuer", "server_keygen = 1\nissuer"), "server_keygen"),
        (("issuer", "server_keygen = true\nenroll = false\nissuer"), "server_keygen"),
        (("issuer", "server_keygen = true\napproval = true\nissuer"), "server_keygen"),
        (("issuer", "approval = true\nenroll = false\nissuer"), "approval"),
        (("issuer", 'qc_statements = { semantics = "natural" }\nissuer'), "qc_statements.semantics"),
        (("issuer", 'policies = [{ oid = "1.2.3" }, { oid = "1.2.3" }]\nissuer'), "policies"),
        (("issuer", 'policies = [{ oid = "3.1" }]\nissuer'), "policies[0].oid"),
        (("issuer", 'policies = [{ oid = "1.2.3", cps_uri = "x" }]\nissuer'), "policies[0].cps_uri"),
        (("issuer", 'san = [{ kind = "dns", source = "fixed" }]\nissuer'), "san[0].source"),
        (("issuer", 'san = [{ kind = "dns", source = "request", min = 2 }]\nissuer'), "san[0].min"),
        (
            (
                "issuer",
                'san = [{ kind = "ip", source = "request", default_from_common_name = true }]\nissuer',
            ),
            "san[0].default_from_common_name",
        ),
    ],
)
def test_one_error(change: tuple[str, str], key: str, tmp_path: Path) -> None:
    found = findings(tmp_path, a=GOOD.replace(*change, 1))
    assert f"a.toml: {key}" in found


@pytest.mark.parametrize("name", ["citizen-signature", "government-token", "citizen-authentication"])
def test_no_server_makes_keys_for_signatures_that_bind(name: str, tmp_path: Path) -> None:
    """nonRepudiation, or statements of a qualified certificate."""
    shipped = (SHIPPED_PROFILES / f"{name}.toml").read_text()
    assert findings(tmp_path, a="server_keygen = true\n" + shipped)[0] == "a.toml: server_keygen"


def test_every_error_in_every_file_at_once(tmp_path: Path) -> None:
    bad = GOOD.replace("issuer", 'ocsp_nocheck = true\npolicies = [{ oid = "x" }, 1]\nisuer')
    other = GOOD.replace("issuer", 'extended_key_usage = ["clientAuth"]\nreenroll = ["c"]\nissuer')
    assert findings(tmp_path, a=bad, b=other, c="kind =") == [
        "a.toml: policies[0].oid",
        "a.toml: policies[1]",
        "a.toml: isuer",
        "a.toml: issuer",
        "a.toml: ocsp_nocheck",
        "c.toml: ",
    ]
    assert findings(tmp_path, a=GOOD, b=other.replace('"c"', '"d"'), c=GOOD) == ["b.toml: reenroll"]


@pytest.mark.parametrize(
    "name", ["cacerts", "simpleenroll", "simplereenroll", "serverkeygen", "fullcmc", "csrattrs"]
)
def test_rfc7030_3_2_2_no_profile_is_named_as_an_operation(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match="a profile's name is a label of EST"):
        load_profile(tmp_path / f"{name}.toml")


def test_names_of_profiles_are_plain(tmp_path: Path) -> None:
    (tmp_path / "My Profile.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match="no name of a profile"):
        load_profiles(tmp_path)


def test_every_rule_has_its_words() -> None:
    assert all(rule.key and rule.problem and rule.rule for rule in RULES)
