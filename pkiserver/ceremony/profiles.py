"""The certificate profiles of a ceremony: those that the program ships, and those that its file pins.

None of a home's: whoever signs the file signs for what its certificates may do.
"""

from config.profile import SHIPPED_PROFILES, Profile, load_profiles, parse_profile
from pkiserver.ceremony.inputs import CeremonyFile, read_reviewed
from pkiserver.errors import RefusedError


def ceremony_profiles(file: CeremonyFile) -> dict[str, Profile]:
    """Return the profiles by name; `ConfigError` with every finding of a file, `RefusedError`."""
    profiles = load_profiles(SHIPPED_PROFILES)
    for name, source in file.ceremony.profiles.items():
        if name in profiles:
            raise RefusedError(f"{name} is a shipped profile: give yours another name")
        profiles[name] = parse_profile(name, read_reviewed(file, source), source.file.name)
    return profiles
