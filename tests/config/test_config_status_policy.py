"""The status policy of an authority: presets, what is set otherwise, and the rules of each preset."""

from datetime import timedelta
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.loader import load_settings
from config.schema import Settings
from config.status_policy import PRESETS, StatusPolicy
from config.units import parse_retention

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROOT = '[authorities.infrastructure]\nparent = ""\nsubject = "CN=R"\n'


def load(folder: Path, text: str) -> Settings:
    path = folder / "pkiserver.toml"
    path.write_text(text)
    return load_settings(path)


def policy(folder: Path, text: str) -> StatusPolicy:
    return load(folder, ROOT + text).status_policies["infrastructure"]


def findings(folder: Path, text: str) -> list[tuple[str, str]]:
    """The key of each finding, of the authority where it is one of its, and the rule."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [(one.key.removeprefix("authorities.infrastructure."), one.rule) for one in caught.value.findings]


def test_the_default_of_every_authority_is_etsi() -> None:
    policies = Settings().status_policies
    assert set(policies) == set(Settings().authorities)
    assert set(policies.values()) == {PRESETS["etsi"]}
    assert PRESETS["etsi"] == StatusPolicy(24 * HOUR, 12 * HOUR, "unauthorized", None)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('status_policy = "web-pki"', StatusPolicy(24 * HOUR, 12 * HOUR, "unauthorized", timedelta(0))),
        ('ocsp_validity = "48h"', StatusPolicy(48 * HOUR, 24 * HOUR, "unauthorized", None)),
        ('ocsp_refresh = "1h"', StatusPolicy(24 * HOUR, HOUR, "unauthorized", None)),
        ('ocsp_validity = "8h"\nocsp_refresh = "1h"', StatusPolicy(8 * HOUR, HOUR, "unauthorized", None)),
        ('ocsp_unknown = "revoked"', StatusPolicy(24 * HOUR, 12 * HOUR, "revoked", None)),
        ('ocsp_retention = "7y"', StatusPolicy(24 * HOUR, 12 * HOUR, "unauthorized", 7 * 366 * DAY)),
        (
            'status_policy = "web-pki"\nocsp_retention = "forever"\nocsp_unknown = "unknown"',
            StatusPolicy(24 * HOUR, 12 * HOUR, "unknown", None),
        ),
        (
            'status_policy = "web-pki"\nocsp_validity = "16h"',
            StatusPolicy(16 * HOUR, 8 * HOUR, "unauthorized", timedelta(0)),
        ),
        (
            'status_policy = "web-pki"\nocsp_validity = "10d"\nocsp_refresh = "4d"',
            StatusPolicy(10 * DAY, 4 * DAY, "unauthorized", timedelta(0)),
        ),
        (
            'status_policy = "web-pki"\nocsp_validity = "8h"\nocsp_refresh = "239m"',
            StatusPolicy(8 * HOUR, timedelta(minutes=239), "unauthorized", timedelta(0)),
        ),
        ('status_policy = "etsi"\nocsp_validity = "preset"\nocsp_retention = "preset"', PRESETS["etsi"]),
    ],
)
def test_what_is_set_stands_beside_the_preset(tmp_path: Path, text: str, want: StatusPolicy) -> None:
    assert policy(tmp_path, text) == want


BR = "(CA/B BR §4.9.9, in older versions §4.9.10)"
SPAN = f"web-pki: a response is valid for 8 hours to 10 days {BR}"
HALF = f"web-pki: valid for less than 16 hours, renewed before half of it is over {BR}"
AHEAD = f"web-pki: valid for 16 hours or more, renewed 8 hours before nextUpdate {BR}"
LATEST = f"web-pki: renewed within 4 days of thisUpdate {BR}"
HOLD = "web-pki: no certificateHold (CA/B BR §4.9.13, §7.2.2, §7.3), the reason that it has"
BEYOND = "etsi: status is told beyond the end of validity (eIDAS article 24(4), EN 319 411-2 §6.3.10)"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('ocsp_refresh = "24h"', [("ocsp_refresh", "ocsp_refresh < ocsp_validity")]),
        ('responder_lifetime = "1d"', [("responder_lifetime", "responder_lifetime > ocsp_validity")]),
        ('ocsp_retention = "0s"', [("ocsp_retention", BEYOND)]),
        ('status_policy = "web-pki"\nocsp_validity = "7h"\nocsp_refresh = "1h"', [("ocsp_validity", SPAN)]),
        ('status_policy = "web-pki"\nocsp_validity = "11d"\nocsp_refresh = "1d"', [("ocsp_validity", SPAN)]),
        ('status_policy = "web-pki"\nocsp_validity = "12h"', [("ocsp_refresh", HALF)]),
        ('status_policy = "web-pki"\nocsp_validity = "959m"\nocsp_refresh = "8h"', [("ocsp_refresh", HALF)]),
        ('status_policy = "web-pki"\nocsp_validity = "16h"\nocsp_refresh = "9h"', [("ocsp_refresh", AHEAD)]),
        ('status_policy = "web-pki"\nocsp_validity = "9d"', [("ocsp_refresh", LATEST)]),
        ('status_policy = "web-pki"\nocsp_unknown = "revoked"', [("ocsp_unknown", HOLD)]),
        (
            (
                'status_policy = "web-pki"\nocsp_validity = "11d"\nocsp_refresh = "10d"\n'
                'ocsp_unknown = "revoked"\nresponder_lifetime = "11d"'
            ),
            [
                ("responder_lifetime", "responder_lifetime > ocsp_validity"),
                ("ocsp_validity", SPAN),
                ("ocsp_refresh", LATEST),
                ("ocsp_unknown", HOLD),
            ],
        ),
    ],
)
def test_each_rule_is_quoted(tmp_path: Path, text: str, want: list[tuple[str, str]]) -> None:
    assert findings(tmp_path, ROOT + text) == want


def test_rules_of_one_preset_do_not_bind_the_other(tmp_path: Path) -> None:
    assert policy(tmp_path, 'ocsp_validity = "30d"').refresh == 15 * DAY
    assert policy(tmp_path, 'status_policy = "web-pki"\nocsp_retention = "0s"').retention == timedelta(0)


def test_every_authority_is_looked_at_and_every_error_told(tmp_path: Path) -> None:
    text = """
    [authorities.root]
    parent = ""
    subject = "CN=Root"
    ocsp_retention = "0s"
    [authorities.infrastructure]
    subject = "CN=root"
    status_policy = "web-pki"
    ocsp_unknown = "revoked"
    """
    assert [key for key, _ in findings(tmp_path, text)] == [
        "subject",
        "authorities.root.ocsp_retention",
        "ocsp_unknown",
    ]


def test_caches_keep_no_response_longer_than_it_is_sure_to_be_valid(tmp_path: Path) -> None:
    text = '[ocsp]\nmax_age = "2h"\n' + ROOT + 'ocsp_validity = "6h"\nocsp_refresh = "5h"'
    assert findings(tmp_path, text) == [("ocsp.max_age", "max_age <= ocsp_validity - ocsp_refresh")]
    assert load(tmp_path, text.replace("5h", "4h")).ocsp.max_age == 2 * HOUR


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('ocsp_validity = "soon"\nocsp_refresh = "72h"', "ocsp_validity"),
        ('ocsp_validity = "0s"', "ocsp_validity"),
        ('ocsp_refresh = "0s"\nstatus_policy = "web-pki"\nocsp_validity = "12h"', "ocsp_refresh"),
        ('status_policy = "strict"\nocsp_retention = "0s"', "status_policy"),
        ('ocsp_retention = "never"', "ocsp_retention"),
        ('ocsp_retention = "101y"', "ocsp_retention"),
        ("ocsp_retention = 7", "ocsp_retention"),
    ],
)
def test_a_rule_says_nothing_while_what_it_compares_is_bad(tmp_path: Path, text: str, key: str) -> None:
    assert [found for found, _ in findings(tmp_path, ROOT + text)] == [key]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("forever", "forever"),
        ("0s", timedelta(0)),
        ("3650d", 3650 * DAY),
        ("1y", 366 * DAY),
        ("100y", 36600 * DAY),
        ("36600d", 36600 * DAY),
    ],
)
def test_retention(text: str, want: timedelta | str) -> None:
    assert parse_retention(text) == want
