"""The section of `pkiserver.toml` about the authorities, and the hierarchy it has by default."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StrictInt

from config.base import Section, option
from config.errors import RuleError, refuse
from config.hierarchy import check_hierarchy
from config.status_policy import CompromisePolicy, PresetName, StatusPolicy, check_status, resolve
from config.units import (
    PRESET,
    CertificateLifetime,
    Duration,
    PositiveDuration,
    PresetDuration,
    PresetRetention,
    SigningKey,
)


def _subject(value: str) -> str:
    from cryptography import x509  # here: a status machine reads other sections, and holds no cryptography

    rule = "a distinguished name in the text of RFC 4514, such as CN=National Root CA,O=Agency,C=MN"
    try:
        name = x509.Name.from_rfc4514_string(value)
    except (ValueError, TypeError) as error:
        raise refuse(f"{value!r} is no name", rule) from error
    if len(name.rdns) == 0:
        raise refuse("the name is empty", rule)
    return value


SubjectText = Annotated[str, AfterValidator(_subject)]


class Authority(Section):
    """One certification authority."""

    parent: str = option("root", description="The authority that issues this one; empty for the root itself.")
    subject: SubjectText = Field(
        description="Name in its certificate (RFC 4514 text, most specific part first)."
    )
    key: SigningKey = option(
        "ec:P-384", description="Key of the authority: ec:P-256, ec:P-384, ec:P-521, rsa:3072, … or ed25519."
    )
    lifetime: CertificateLifetime = option(
        "10y", description="Validity of its certificate; must end within that of its parent."
    )
    crl_period: PositiveDuration = option(
        "12h", description="A full CRL is published this often at least, and on every change."
    )
    crl_overlap: PositiveDuration = option(
        "12h",
        description="Time to mend what hinders publication: nextUpdate is thisUpdate + crl_period + "
        "crl_overlap. The sum is how long a relying party may go on using a CRL; the defaults keep it at "
        "24 hours.",
    )
    crl_delta_period: Duration = option(
        "0s",
        description="With deltas, a change is told by a delta CRL at once, which is published this often at "
        "least, and full CRLs come every crl_period; certificates and full CRLs name the delta "
        "(freshestCRL). 0s: no deltas.",
    )
    crl_shards: StrictInt = option(
        1,
        ge=1,
        le=256,
        description="Into how many CRLs the certificates are divided, each given one at random when it is "
        "issued. Their CRLs bear a critical issuingDistributionPoint, which some clients refuse (NSS). 1: "
        "certificates name the CRL of all. Certificates keep the CRL they were issued with.",
    )
    responder_key: SigningKey = option("ec:P-256", description="Key of its OCSP responder.")
    responder_lifetime: CertificateLifetime = option(
        "90d", description="Validity of its OCSP responder's certificate."
    )
    status_policy: PresetName = option(
        "etsi",
        description="The preset by which its status is told. etsi: responses valid for 24h, serials that "
        "were not issued unauthorized, the status of expired certificates told forever. web-pki: the same, "
        "but the status of expired certificates told no more (0s). Each refuses what its rules forbid.",
    )
    ocsp_validity: PresetDuration = option(
        PRESET,
        description="From thisUpdate to nextUpdate of an OCSP response; preset: as status_policy says.",
    )
    ocsp_refresh: PresetDuration = option(
        PRESET, description="A response is signed anew after this time; preset: half of its validity."
    )
    ocsp_unknown: Literal["preset", "unauthorized", "unknown", "revoked"] = option(
        PRESET,
        description="What OCSP says of a serial that was not issued: unauthorized, without a signature "
        "(RFC 9919); unknown, signed; or revoked, signed, as a hold since 1970 (RFC 6960 §2.2).",
    )
    compromise_ocsp: CompromisePolicy = option(
        "revoked",
        description="What OCSP says when the authority's key is compromised. revoked: that, signed until the "
        "certificate of its present OCSP signer ends. unauthorized: nothing, from that moment on.",
    )
    compromise_crl: Literal["last", "none"] = option(
        "last",
        description="The CRL when the authority's key is compromised. last: one more, which revokes all that "
        "it issued and has no successor. none: the key signs nothing again; the CRL of before runs out.",
    )
    ocsp_retention: PresetRetention = option(
        PRESET,
        description="How long past its expiry the status of a certificate is told: forever, 0s, 3650d, 7y (a "
        "year has 366 days here). Afterwards it is as if it had not been issued.",
    )

    @property
    def status(self) -> StatusPolicy:
        """How its status is told: the preset, and what is set otherwise."""
        policy = resolve(
            self.status_policy,
            validity=self.ocsp_validity,
            refresh=self.ocsp_refresh,
            unknown=None if self.ocsp_unknown == "preset" else self.ocsp_unknown,
            retention=self.ocsp_retention,
        )
        return replace(policy, compromised=self.compromise_ocsp)


_O: Final = "O=National Certification Authority,C=MN"
DEFAULT_AUTHORITIES: Final[Mapping[str, Mapping[str, str]]] = {
    "root": {"parent": "", "subject": f"CN=National Root CA,{_O}", "lifetime": "20y"},
    "citizen": {"subject": f"CN=Citizen CA,{_O}"},
    "government": {"subject": f"CN=Government CA,{_O}"},
    "infrastructure": {"subject": f"CN=Infrastructure CA,{_O}"},
}


def _sound(value: Mapping[str, Authority]) -> Mapping[str, Authority]:
    broken = [*check_hierarchy(value), *check_status(value)]
    if broken:
        raise RuleError(*broken)
    return value


Authorities = Annotated[Mapping[str, Authority], AfterValidator(_sound)]
