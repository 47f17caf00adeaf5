"""What an authority tells of its certificates, and for how long: the presets, and the rules that each keeps.

An operator names a preset and may set single values otherwise; `StatusPolicy` is what comes of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, Protocol

from config.errors import Broken
from config.units import Lifetime, duration_text

PresetName = Literal["etsi", "web-pki"]
UnknownPolicy = Literal["unauthorized", "unknown", "revoked"]
CompromisePolicy = Literal["revoked", "unauthorized"]

_BR: Final = "CA/B BR §4.9.9, in older versions §4.9.10"
_LEAST: Final = timedelta(hours=8)
_MOST: Final = timedelta(days=10)
_SHORT: Final = timedelta(hours=16)  # below it other rules hold for the refresh
_AHEAD: Final = timedelta(hours=8)
_LATEST: Final = timedelta(days=4)


@dataclass(frozen=True, slots=True)
class StatusPolicy:
    """How an authority's status is told.

    `validity` is from thisUpdate to nextUpdate of an OCSP response, `refresh` the time after which it is
    signed anew; `unknown` what is said of serials that were not issued; `retention` how long past its expiry
    the status of a certificate is told, None for ever. `compromised`: what is said when the key is.
    """

    validity: timedelta
    refresh: timedelta
    unknown: UnknownPolicy
    retention: timedelta | None
    compromised: CompromisePolicy = "revoked"


PRESETS: Final[Mapping[PresetName, StatusPolicy]] = {
    "etsi": StatusPolicy(timedelta(hours=24), timedelta(hours=12), "unauthorized", None),
    "web-pki": StatusPolicy(timedelta(hours=24), timedelta(hours=12), "unauthorized", timedelta(0)),
}


class AuthorityStatus(Protocol):
    """What the rules look at."""

    @property
    def status_policy(self) -> PresetName: ...
    @property
    def status(self) -> StatusPolicy: ...
    @property
    def responder_lifetime(self) -> Lifetime: ...


def resolve(
    preset: PresetName,
    *,
    validity: timedelta | None,
    refresh: timedelta | None,
    unknown: UnknownPolicy | None,
    retention: timedelta | Literal["forever"] | None,
) -> StatusPolicy:
    """Return a preset's policy with other values where they are not None; refresh follows from validity."""
    base = PRESETS[preset]
    if refresh is None:
        refresh = base.refresh if validity is None else validity / 2
    kept = base.retention if retention is None else retention
    return StatusPolicy(
        base.validity if validity is None else validity,
        refresh,
        base.unknown if unknown is None else unknown,
        None if kept == "forever" else kept,
    )


def check_status(authorities: Mapping[str, AuthorityStatus]) -> list[Broken]:
    """Return every rule that the status policies break: those of all, and those of their presets."""
    return [
        Broken(one.problem, one.rule, f"{name}.{one.key}", tuple(f"{name}.{key}" for key in one.needs))
        for name, authority in authorities.items()
        for one in _broken(authority)
    ]


def _broken(authority: AuthorityStatus) -> Iterator[Broken]:
    policy, lifetime = authority.status, authority.responder_lifetime
    if policy.refresh >= policy.validity:
        yield Broken(
            f"{duration_text(policy.refresh)} is too long",
            "ocsp_refresh < ocsp_validity",
            "ocsp_refresh",
            _VALIDITY,
        )
    if not lifetime.years and lifetime.span <= policy.validity:
        rule = "responder_lifetime > ocsp_validity"
        yield Broken(
            f"not longer than {duration_text(policy.validity)}", rule, "responder_lifetime", _VALIDITY
        )
    yield from _RULES[authority.status_policy](policy)


_PRESET: Final = ("status_policy",)
_VALIDITY: Final = ("ocsp_validity", *_PRESET)


def _etsi(policy: StatusPolicy) -> Iterator[Broken]:
    if policy.retention == timedelta(0):
        rule = "etsi: status is told beyond the end of validity (eIDAS article 24(4), EN 319 411-2 §6.3.10)"
        yield Broken("0s is too short", rule, "ocsp_retention", _PRESET)


def _web_pki(policy: StatusPolicy) -> Iterator[Broken]:
    validity, refresh = policy.validity, policy.refresh
    if not _LEAST <= validity <= _MOST:
        rule = f"web-pki: a response is valid for 8 hours to 10 days ({_BR})"
        yield Broken(f"{duration_text(validity)} is not allowed", rule, "ocsp_validity", _PRESET)
    if validity < _SHORT and refresh >= validity / 2:
        rule = f"web-pki: valid for less than 16 hours, renewed before half of it is over ({_BR})"
        yield Broken(f"{duration_text(refresh)} is too long", rule, "ocsp_refresh", _VALIDITY)
    if validity >= _SHORT and refresh > validity - _AHEAD:
        rule = f"web-pki: valid for 16 hours or more, renewed 8 hours before nextUpdate ({_BR})"
        yield Broken(f"{duration_text(refresh)} is too long", rule, "ocsp_refresh", _VALIDITY)
    if validity >= _SHORT and refresh > _LATEST:
        rule = f"web-pki: renewed within 4 days of thisUpdate ({_BR})"
        yield Broken(f"{duration_text(refresh)} is too long", rule, "ocsp_refresh", _VALIDITY)
    if policy.unknown == "revoked":
        rule = "web-pki: no certificateHold (CA/B BR §4.9.13, §7.2.2, §7.3), the reason that it has"
        yield Broken("'revoked' is not allowed", rule, "ocsp_unknown", _PRESET)


_RULES: Final = {"etsi": _etsi, "web-pki": _web_pki}
