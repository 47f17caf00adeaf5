"""Of whose certificates registrars decide: subscribers', by their profiles; others are the server's own."""

from collections.abc import Mapping

from config.hierarchy import INFRASTRUCTURE
from config.profile import Profile


def subscriber_profiles(profiles: Mapping[str, Profile]) -> frozenset[str]:
    """Return the profiles of people and organisations.

    Not those of the infrastructure authority, of authorities, or of an authority's OCSP responder: a
    registrar who could suspend these would close doors, or silence the status of everybody.
    """
    return frozenset(
        name
        for name, profile in profiles.items()
        if profile.kind == "end-entity" and profile.issuer not in (None, INFRASTRUCTURE)
    )
