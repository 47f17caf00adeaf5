"""A CRL in pieces is the CRL in one (RFC 5280 §5.1)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.asn1 import der
from protocols.crl import assemble_crl, build_tbs_cert_list, revoked_entry
from protocols.crl_frame import CRLFrame, crl_pieces, split_frame, tbs_pieces
from protocols.errors import MalformedError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALGORITHM = der.sequence(der.oid("1.2.840.10045.4.3.2"))
FIELDS: dict[str, Any] = {
    "signature_algorithm": ALGORITHM,
    "issuer_der": der.sequence(),
    "this_update": NOW,
    "next_update": NOW + timedelta(days=1),
    "authority_key_identifier": bytes(20),
    "crl_number": 7,
}


@given(st.lists(st.integers(1, 1 << 127), max_size=200), st.integers(1, 50), st.sampled_from([2026, 2050]))
def test_pieces_make_what_one_build_makes(serials: list[int], size: int, year: int) -> None:
    fields = FIELDS | {"next_update": NOW.replace(year=year, month=4)}
    entries = [revoked_entry(serial, NOW, 1) for serial in serials]
    frame = split_frame(build_tbs_cert_list(entries=b"", **fields))
    chunks = [b"".join(entries[start : start + size]) for start in range(0, len(entries), size)]
    tbs = build_tbs_cert_list(entries=entries, **fields)
    assert b"".join(tbs_pieces(frame, chunks)) == tbs
    assert b"".join(crl_pieces(frame, chunks, b"signature")) == assemble_crl(tbs, ALGORITHM, b"signature")


def test_no_chunk_is_copied() -> None:
    chunk = revoked_entry(5, NOW) * 1000
    frame = split_frame(build_tbs_cert_list(entries=b"", **FIELDS))
    assert any(piece is chunk for piece in crl_pieces(frame, [chunk], b"signature"))


@pytest.mark.parametrize(
    "tbs",
    [
        b"",
        der.sequence(),
        build_tbs_cert_list(entries=revoked_entry(5, NOW), **FIELDS),
        build_tbs_cert_list(entries=b"", **FIELDS) + b"\0",
        build_tbs_cert_list(entries=b"", **FIELDS)[:-1],
    ],
    ids=["empty", "no fields", "with an entry", "longer", "truncated"],
)
def test_only_an_empty_tbs_cert_list_gives_a_frame(tbs: bytes) -> None:
    with pytest.raises(MalformedError):
        split_frame(tbs)


def test_a_frame_without_an_algorithm_gives_no_crl() -> None:
    with pytest.raises(MalformedError):
        crl_pieces(CRLFrame(der.integer(1) + der.null(), b""), [], b"signature")
