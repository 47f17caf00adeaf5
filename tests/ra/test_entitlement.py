"""What was approved is held to each request anew, and to the profile of the moment."""

from pathlib import Path

import pytest

from config.profile import Profile
from pkiserver.ca.identity import Identity
from pkiserver.core import load_configuration
from pkiserver.errors import RefusedError
from pkiserver.home import Home
from pkiserver.ra.entitlement import Entitlement
from protocols.x509.csr import UnprovenCSR
from protocols.x509.names import parse_san, parse_subject


@pytest.fixture
def device(initialised_home: Path) -> Profile:
    _, profiles = load_configuration(Home(initialised_home))
    return profiles["device"]


def asking_for(subject: str, *san: str) -> UnprovenCSR:
    return UnprovenCSR(
        subject=parse_subject(subject), san=tuple(map(parse_san, san)), challenge_password=None
    )


def test_each_request_is_held_to_what_was_approved(device: Profile) -> None:
    entitlement = Entitlement(device, Identity(parse_subject("CN=pump-1")))
    again = [entitlement.hold(asking_for("CN=pump-1"), "test").identity for _ in range(2)]
    assert again[0] == again[1]
    other = Entitlement(device, Identity(parse_subject("CN=pump-2")))
    assert other.hold(asking_for("CN=pump-2"), "test").identity != again[0]
    with pytest.raises(RefusedError):
        Entitlement(device, Identity(parse_subject("CN=pump-1,C=MN,UID=x"))).hold(
            asking_for("CN=pump-1"), "test"
        )


def test_another_profile_of_the_same_name_counts_at_once(device: Profile) -> None:
    approved, csr = Identity(parse_subject("CN=pump-3")), asking_for("CN=pump-3")
    assert Entitlement(device, approved).hold(csr, "test").identity.subject == approved.subject
    (rule,) = (one for one in device.subject if one.attribute == "commonName")
    stricter = device.model_copy(update={"subject": (rule.model_copy(update={"pattern": "valve-.*"}),)})
    with pytest.raises(RefusedError, match="does not match"):
        Entitlement(stricter, approved).hold(csr, "test")
