"""Whose certificates and enrolments are looked for: subscribers', by authority and profile, or others'."""

from dataclasses import dataclass

from store.database import Value


@dataclass(frozen=True, slots=True)
class Owners:
    """What is a subscriber's, of one of these authorities and profiles, and which of both is `sought`.

    `sought` holds True for what is a subscriber's, False for what is not.
    """

    authorities: frozenset[int]
    profiles: frozenset[str]
    sought: frozenset[bool]

    def have(self, authority: int, profile: str) -> bool:
        """Return whether certificates of this profile of this authority are sought."""
        return (authority in self.authorities and profile in self.profiles) in self.sought

    def condition(self) -> tuple[str, tuple[Value, ...]]:
        """Return the same as an SQL condition on `authority` and `profile`, with its values."""
        places = (", ".join("?" * len(some)) for some in (self.authorities, self.profiles, self.sought))
        condition = "(authority IN ({}) AND profile IN ({})) IN ({})".format(*places)
        return condition, (*sorted(self.authorities), *sorted(self.profiles), *map(int, self.sought))
