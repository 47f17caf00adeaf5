"""The certificate profiles of a ceremony: the shipped ones, and the operator's own where there is a home."""

from config.profile import SHIPPED_PROFILES, Profile, load_profiles
from pkiserver.home import Home


def ceremony_profiles(home: Home) -> dict[str, Profile]:
    """Return the profiles by name; `ConfigError` with every finding."""
    return load_profiles(SHIPPED_PROFILES, home.profiles)
