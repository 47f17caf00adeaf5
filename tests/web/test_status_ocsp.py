"""What the responder answers to whom, and under which header fields; one row a rule (RFC 6960, RFC 9919)."""

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from status_support import (
    EXPIRED,
    GOOD,
    NEVER_ISSUED,
    ORPHANED,
    RESPONDER,
    REVOKED,
    Hierarchy,
)

from pkiserver.status.slow_path import keyless_answer
from pkiserver.web.http_messages import HTTPReply, HTTPRequest
from pkiserver.web.ocsp import OCSPResponder
from protocols.asn1 import der
from protocols.asn1.ocsp import OCSPResponseStatus
from store.response_entries import ResponderParts
from store.response_writer import ResponseTableWriter

MAX_AGE = timedelta(seconds=60)
TYPE = {b"content-type": b"application/ocsp-request"}


class Site(NamedTuple):
    hierarchy: Hierarchy
    table: ResponseTableWriter
    responder: OCSPResponder

    def post(self, request: bytes, *, path: bytes = b"/ocsp", now: datetime | None = None) -> HTTPReply:
        return self.responder.handle(HTTPRequest(b"POST", path, TYPE, request), now or self.hierarchy.now)

    def get(
        self,
        request: bytes,
        fields: dict[bytes, bytes] | None = None,
        *,
        method: bytes = b"GET",
        now: datetime | None = None,
    ) -> HTTPReply:
        path = b"/ocsp/" + base64.b64encode(request)
        return self.responder.handle(HTTPRequest(method, path, fields or {}, b""), now or self.hierarchy.now)


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    return Hierarchy()


@pytest.fixture(scope="module")
def site(hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    table = ResponseTableWriter(tmp_path_factory.mktemp("status") / "responses")
    hierarchy.fill(table)
    yield Site(hierarchy, table, OCSPResponder(table, keyless_answer, max_age=MAX_AGE))
    table.close()


def fields(reply: HTTPReply) -> dict[str, str]:
    lines = reply.fields.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


def status(reply: HTTPReply) -> ocsp.OCSPResponseStatus:
    assert reply.status == b"200 OK"
    assert fields(reply)["Content-Type"] == "application/ocsp-response"
    assert int(fields(reply)["Content-Length"]) == len(reply.body)
    return ocsp.load_der_ocsp_response(reply.body).response_status


ALGORITHMS = [hashes.SHA1(), hashes.SHA256()]  # noqa: S303 - what CertIDs are made with


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["sha1", "sha256"])
@pytest.mark.parametrize(
    ("serial", "want"),
    [(GOOD, ocsp.OCSPCertStatus.GOOD), (REVOKED, ocsp.OCSPCertStatus.REVOKED)],
    ids=["good", "revoked"],
)
def test_a_known_certificate_gets_its_signed_status(
    site: Site, serial: int, want: ocsp.OCSPCertStatus, algorithm: hashes.HashAlgorithm
) -> None:
    request = site.hierarchy.request(serial, algorithm=algorithm)
    replies = [site.post(request), site.post(request, path=b"/ocsp/"), site.get(request)]
    for reply in replies:
        assert status(reply) is ocsp.OCSPResponseStatus.SUCCESSFUL
        assert reply.outcome == "successful"
        single = next(iter(ocsp.load_der_ocsp_response(reply.body).responses))
        assert (single.serial_number, single.certificate_status) == (serial, want)
    assert replies[0] == replies[1] == replies[2]


def with_critical_extension(request: bytes) -> bytes:
    """Put a critical extension that nobody knows into the request."""
    extension = der.sequence(der.oid("1.2.3.4"), der.boolean(True), der.octet_string(b"\x05\x00"))
    tbs = der.Reader(request).enter().enter()
    request_list = tbs.read_raw(der.SEQUENCE)
    return der.sequence(der.sequence(request_list, der.explicit(2, der.sequence(extension))))


UNSUCCESSFUL = {
    "rfc6960_2_3_never_issued": (lambda h: h.request(NEVER_ISSUED), "UNAUTHORIZED"),
    "rfc6960_2_3_other_issuer": (lambda _: Hierarchy().request(GOOD), "UNAUTHORIZED"),
    "rfc9919_3_1_1_two_requests": (lambda h: h.request(GOOD, REVOKED), "UNAUTHORIZED"),
    "rfc6960_4_3_sha512_cert_id": (lambda h: h.request(GOOD, algorithm=hashes.SHA512()), "UNAUTHORIZED"),
    "rfc6960_4_2_2_1_past_next_update": (lambda h: h.request(EXPIRED), "TRY_LATER"),
    "responder_unknown": (lambda h: h.request(ORPHANED), "TRY_LATER"),
    "rfc6960_2_3_garbage": (lambda _: b"garbage", "MALFORMED_REQUEST"),
    "rfc6960_2_3_empty": (lambda _: b"", "MALFORMED_REQUEST"),
    "rfc6960_2_3_truncated": (lambda h: h.request(GOOD)[:-1], "MALFORMED_REQUEST"),
    "rfc6960_2_3_trailing": (lambda h: h.request(GOOD) + b"\x00", "MALFORMED_REQUEST"),
    "rfc9654_2_1_long_nonce": (lambda h: h.request(GOOD, nonce=bytes(129)), "MALFORMED_REQUEST"),
    "rfc9654_2_1_empty_nonce": (lambda h: h.request(GOOD, nonce=b""), "MALFORMED_REQUEST"),
    "rfc6960_4_1_2_critical": (lambda h: with_critical_extension(h.request(GOOD)), "MALFORMED_REQUEST"),
}


@pytest.mark.parametrize("rule", UNSUCCESSFUL)
def test_everything_else_gets_an_error_that_no_cache_keeps(site: Site, rule: str) -> None:
    make, want = UNSUCCESSFUL[rule]
    request = make(site.hierarchy)
    for reply in [site.post(request)] + ([site.get(request)] if request else []):
        assert status(reply).name == want
        assert "no-store" in fields(reply)["Cache-Control"]
        assert not {"ETag", "Expires", "Last-Modified"} & fields(reply).keys()


def test_an_expired_entry_is_counted_apart(site: Site) -> None:
    assert site.post(site.hierarchy.request(EXPIRED)).outcome == "expired"


@pytest.mark.parametrize("size", [1, 32, 128])
def test_a_nonce_is_ignored_and_the_same_response_given(site: Site, size: int) -> None:
    plain = site.post(site.hierarchy.request(GOOD))
    assert site.post(site.hierarchy.request(GOOD, nonce=bytes(size))) == plain


def test_no_response_is_served_from_next_update_on(site: Site) -> None:
    request, end = site.hierarchy.request(GOOD), site.hierarchy.now + timedelta(hours=23)
    last = site.post(request, now=end - timedelta(seconds=1))
    assert status(last) is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert fields(last)["Cache-Control"].startswith("max-age=0,")
    assert status(site.post(request, now=end)) is ocsp.OCSPResponseStatus.TRY_LATER


def test_the_header_fields_are_those_of_rfc9919_7_2(site: Site) -> None:
    reply = site.get(site.hierarchy.request(GOOD))
    response = next(iter(ocsp.load_der_ocsp_response(reply.body).responses))
    digest = hashes.Hash(hashes.SHA256())
    digest.update(reply.body)
    assert fields(reply) == {
        "Content-Type": "application/ocsp-response",
        "Content-Length": str(len(reply.body)),
        "Last-Modified": f"{response.this_update_utc:%a, %d %b %Y %H:%M:%S} GMT",
        "Expires": f"{response.next_update_utc:%a, %d %b %Y %H:%M:%S} GMT",
        "ETag": f'"{digest.finalize().hex()}"',
        "Cache-Control": "max-age=60, public, no-transform, must-revalidate",
    }


@pytest.mark.parametrize(("seconds_left", "max_age"), [(61, 60), (60, 59), (2, 1)])
def test_max_age_ends_before_next_update(site: Site, seconds_left: int, max_age: int) -> None:
    now = site.hierarchy.now + timedelta(hours=23, seconds=-seconds_left)
    reply = site.post(site.hierarchy.request(GOOD), now=now)
    assert fields(reply)["Cache-Control"].startswith(f"max-age={max_age},")


def test_last_modified_is_never_after_the_date(site: Site) -> None:
    early = site.hierarchy.now - timedelta(hours=2)  # a clock set back
    reply = site.get(site.hierarchy.request(GOOD), now=early)
    assert fields(reply)["Last-Modified"] == f"{early:%a, %d %b %Y %H:%M:%S} GMT"


# ---- Conditional requests (RFC 9110 §13)


def conditions(etag: str, modified: datetime) -> dict[str, tuple[dict[bytes, bytes], bool]]:
    tag = etag.encode()
    imf = f"{modified:%a, %d %b %Y %H:%M:%S} GMT".encode()
    before = f"{modified - timedelta(seconds=1):%a, %d %b %Y %H:%M:%S} GMT".encode()
    return {
        "same tag": ({b"if-none-match": tag}, True),
        "weak tag": ({b"if-none-match": b"W/" + tag}, True),
        "one of several": ({b"if-none-match": b'"other" , ' + tag}, True),
        "any": ({b"if-none-match": b"*"}, True),
        "other tag": ({b"if-none-match": b'"other"'}, False),
        "unquoted": ({b"if-none-match": tag.strip(b'"')}, False),
        "same time": ({b"if-modified-since": imf}, True),
        "earlier": ({b"if-modified-since": before}, False),
        "RFC 850": ({b"if-modified-since": f"{modified:%A, %d-%b-%y %H:%M:%S} GMT".encode()}, True),
        "asctime": ({b"if-modified-since": f"{modified:%a %b %d %H:%M:%S %Y}".encode()}, True),
        "no date": ({b"if-modified-since": b"yesterday \xff"}, False),
        "endless date": ({b"if-modified-since": imf + b" " * 5000}, False),
        "tag before time": ({b"if-none-match": b'"other"', b"if-modified-since": imf}, False),
    }


@pytest.mark.parametrize("condition", conditions("", datetime(2026, 1, 1, tzinfo=UTC)))
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_condition_that_holds_gives_304(site: Site, condition: str, method: bytes) -> None:
    request = site.hierarchy.request(GOOD)
    full = site.get(request)
    modified = site.hierarchy.now - timedelta(hours=1)
    sent, unmodified = conditions(fields(full)["ETag"], modified)[condition]
    reply = site.get(request, sent, method=method)
    assert reply.status == (b"304 Not Modified" if unmodified else b"200 OK")
    if unmodified:
        assert reply.body == b""
        wanted = {"ETag", "Expires", "Cache-Control", "Last-Modified"}
        assert fields(reply) == {name: fields(full)[name] for name in wanted}
    else:
        assert reply == full


def test_conditions_do_not_apply_to_post(site: Site) -> None:
    request = HTTPRequest(b"POST", b"/ocsp", {**TYPE, b"if-none-match": b"*"}, site.hierarchy.request(GOOD))
    assert site.responder.handle(request, site.hierarchy.now).status == b"200 OK"


# ---- HTTP's refusals

REFUSED = [
    (b"GET", b"/ocsp", {}, b"405 Method Not Allowed", b"Allow: POST\r\n"),
    (b"HEAD", b"/ocsp/", {}, b"405 Method Not Allowed", b"Allow: POST\r\n"),
    (b"PUT", b"/ocsp", TYPE, b"405 Method Not Allowed", b"Allow: POST\r\n"),
    (b"POST", b"/ocsp/MEUw", TYPE, b"405 Method Not Allowed", b"Allow: GET, HEAD\r\n"),
    (b"POST", b"/ocsp", {}, b"415 Unsupported Media Type", b"Accept-Post: application/ocsp-request\r\n"),
    (b"POST", b"/ocsp", {b"content-type": b"text/plain"}, b"415 Unsupported Media Type", b""),
    (b"GET", b"/ocspx", {}, b"404 Not Found", b""),
]


@pytest.mark.parametrize(("method", "path", "sent", "want", "line"), REFUSED)
def test_what_is_no_ocsp_request_is_refused_by_http(
    site: Site, method: bytes, path: bytes, sent: dict[bytes, bytes], want: bytes, line: bytes
) -> None:
    reply = site.responder.handle(
        HTTPRequest(method, path, sent, site.hierarchy.request(GOOD)), site.hierarchy.now
    )
    assert reply.status == want
    assert line in reply.fields


@pytest.mark.parametrize(
    "content_type",
    [b"application/ocsp-request", b"Application/OCSP-Request", b"application/ocsp-request; charset=binary"],
)
def test_the_content_type_is_read_as_http_has_it(site: Site, content_type: bytes) -> None:
    request = HTTPRequest(b"POST", b"/ocsp", {b"content-type": content_type}, site.hierarchy.request(GOOD))
    assert site.responder.handle(request, site.hierarchy.now).outcome == "successful"


def test_a_path_that_is_no_base64_is_a_malformed_request(site: Site) -> None:
    reply = site.responder.handle(HTTPRequest(b"GET", b"/ocsp/%%%", {}, b""), site.hierarchy.now)
    assert status(reply) is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


# ---- Changes while serving


def test_new_issuers_and_responders_are_taken_up(tmp_path: Path) -> None:
    hierarchy, table = Hierarchy(), ResponseTableWriter(tmp_path / "responses")
    site = Site(hierarchy, table, OCSPResponder(table, keyless_answer, max_age=MAX_AGE))
    request = hierarchy.request(GOOD)
    assert status(site.post(request)) is ocsp.OCSPResponseStatus.UNAUTHORIZED
    hierarchy.fill(table)
    site.responder.refresh()
    before = site.post(request)
    assert status(before) is ocsp.OCSPResponseStatus.SUCCESSFUL
    # A responder that its first entry names is found without waiting for the next refresh.
    orphaned = hierarchy.request(ORPHANED)
    assert status(site.post(orphaned)) is ocsp.OCSPResponseStatus.TRY_LATER
    table.put_responder(replace(table.responders()[RESPONDER], responder=RESPONDER + 1))
    assert status(site.post(orphaned)) is ocsp.OCSPResponseStatus.SUCCESSFUL
    table.put_responder(ResponderParts(RESPONDER, table.responders()[RESPONDER].signature_algorithm, b""))
    site.responder.refresh()
    assert len(site.post(request).body) < len(before.body)
    table.close()


def test_the_slow_path_gets_only_what_the_scan_leaves(site: Site) -> None:
    seen: list[bytes] = []

    def slow_path(request: bytes) -> OCSPResponseStatus:
        seen.append(request)
        return OCSPResponseStatus.SIG_REQUIRED

    responder = OCSPResponder(site.table, slow_path, max_age=MAX_AGE)
    unusual = site.hierarchy.request(GOOD, nonce=bytes(16))
    for request in (site.hierarchy.request(GOOD), unusual):
        reply = responder.handle(HTTPRequest(b"POST", b"/ocsp", TYPE, request), site.hierarchy.now)
    assert seen == [unusual]
    assert status(reply) is ocsp.OCSPResponseStatus.SIG_REQUIRED
    assert re.fullmatch(r"[a-z_]+", reply.outcome)
