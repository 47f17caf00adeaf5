"""Conditional requests (RFC 9110 §13): what the validators that a client sends mean for its GET or HEAD."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

_MAX_DATE_OCTETS: Final = 40  # the longest of the three forms, `Wednesday, 09-Nov-94 08:49:37 GMT`, has 33
# IMF-fixdate and the two obsolete forms that must be understood (RFC 9110 §5.6.7).
_DATE_FORMATS: Final = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
_SECOND: Final = timedelta(seconds=1)


def is_failed(fields: dict[bytes, bytes], entity_tag: bytes, last_modified: datetime) -> bool:
    """Tell whether a request is to be answered with 412 (RFC 9110 §13.2.2, steps 1 and 2).

    If-Match is compared strongly; If-Unmodified-Since counts only without it, and only as a valid date.
    """
    if_match = fields.get(b"if-match")
    if if_match is not None:
        return if_match.strip() != b"*" and entity_tag not in _entity_tags(if_match)
    since = _http_date(fields.get(b"if-unmodified-since", b""))
    return since is not None and last_modified > since


def is_unmodified(fields: dict[bytes, bytes], entity_tag: bytes, last_modified: datetime) -> bool:
    """Tell whether a GET or HEAD is to be answered with 304 (RFC 9110 §13.2.2, steps 3 and 4).

    If-None-Match is compared weakly; If-Modified-Since counts only without it, and only as a valid date.
    """
    if_none_match = fields.get(b"if-none-match")
    if if_none_match is not None:
        if if_none_match == entity_tag:  # as nearly all are
            return True
        listed = (listed.removeprefix(b"W/") for listed in _entity_tags(if_none_match))
        return if_none_match.strip() == b"*" or entity_tag in listed
    since = _http_date(fields.get(b"if-modified-since", b""))
    return since is not None and last_modified <= since


def is_range_wanted(
    fields: dict[bytes, bytes], entity_tag: bytes, last_modified: datetime, now: datetime
) -> bool:
    """Tell whether a Range counts, by If-Range (RFC 9110 §13.1.5): what the client has is of this very form.

    Compared strongly: a weak tag does not match. A date does if it is the same, and its second is over: a
    file written twice within a second would have the same date.
    """
    if_range = fields.get(b"if-range")
    if if_range is None or if_range == entity_tag:
        return True
    return _http_date(if_range) == last_modified <= now - _SECOND


def _entity_tags(listed: bytes) -> Iterator[bytes]:
    """Yield the entity tags of a list; ours hold no comma."""
    for entity_tag in listed.split(b","):
        yield entity_tag.strip()


def _http_date(text: bytes) -> datetime | None:
    """Return the moment of an HTTP date in any of its forms, or None."""
    if not text or len(text) > _MAX_DATE_OCTETS:
        return None
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(text.decode("latin-1"), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
