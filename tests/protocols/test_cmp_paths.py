"""CMP over HTTP: which resource a path names (RFC 9811 §3.4), and which messages are announcements (§3.5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.asn1 import der
from protocols.cmp.http import OPERATIONS, CMPAddress, address_of, is_announcement

ADDRESSES = {
    b"/.well-known/cmp": CMPAddress(),
    b"/.well-known/cmp/": CMPAddress(),
    b"/.well-known/cmp/initialization": CMPAddress("initialization"),
    b"/.well-known/cmp/initialization/": CMPAddress("initialization"),
    b"/.well-known/cmp/p/citizen-signature": CMPAddress(None, "citizen-signature"),
    b"/.well-known/cmp/p/device/": CMPAddress(None, "device"),
    b"/.well-known/cmp/p/device/getcacerts": CMPAddress("getcacerts", "device"),
    b"/.well-known/cmp/p/p/nested": CMPAddress("nested", "p"),
    b"/.well-known/cmp/p/": None,
    b"/.well-known/cmp/p": None,
    b"/.well-known/cmp/p//nested": None,
    b"/.well-known/cmp/p/Device": None,
    b"/.well-known/cmp/p/../../etc": None,
    b"/.well-known/cmp/p/" + b"a" * 64: None,
    b"/.well-known/cmp/p/device/nested/more": None,
    b"/.well-known/cmp/nothing": None,
    b"/.well-known/cmp/Initialization": None,
    b"/.well-known/cmp//": None,
    b"/.well-known/cmpx": None,
    b"/.well-known/cmp\xff": None,
    b"/.well-known/cmp/\xff": None,
    b"/.well-known/est": None,
    b"": None,
}


@pytest.mark.parametrize("path", ADDRESSES)
def test_paths(path: bytes) -> None:
    assert address_of(path) == ADDRESSES[path]


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_operation_has_its_path_with_and_without_profile(operation: str) -> None:
    """The labels of RFC 9483 §6.1."""
    assert address_of(b"/.well-known/cmp/" + operation.encode()) == CMPAddress(operation)
    assert address_of(b"/.well-known/cmp/p/x/" + operation.encode()) == CMPAddress(operation, "x")


@pytest.mark.parametrize("tag", range(27))
def test_announcements_are_told_by_the_tag_of_the_body(tag: int) -> None:
    message = der.sequence(der.sequence(der.integer(2)), der.explicit(tag, der.null()))
    assert is_announcement(message) == (tag in (15, 16, 17, 18))


@given(st.binary(max_size=64))
def test_what_is_no_message_announces_nothing_and_no_path_is_a_fault(octets: bytes) -> None:
    assert not is_announcement(octets) or octets[0] == der.SEQUENCE
    found = address_of(b"/.well-known/cmp/" + octets)
    assert found is None or found.operation in {*OPERATIONS, None}
