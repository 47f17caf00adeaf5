"""The multipart body of serverkeygen: the example of RFC 7030, ours both ways, and octets of any kind."""

import email
import email.policy
from contextlib import suppress
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.est.multipart import (
    BOUNDARY,
    MAX_MULTIPART_BYTES,
    MULTIPART_CONTENT_TYPE,
    Part,
    encode_multipart,
    parse_multipart,
    server_key_parts,
)

EXAMPLE = Path(__file__).parent.parent / "vectors" / "est" / "rfc7030_a_4_server_key_response.txt"
EXAMPLE_TYPE = "multipart/mixed ; boundary=estServerExampleBoundary"


def test_rfc7030_a_4_example_is_read() -> None:
    key, certificate = parse_multipart(EXAMPLE.read_bytes(), EXAMPLE_TYPE)

    assert key.content_type == "application/pkcs8"
    assert certificate.content_type == "application/pkcs7-mime; smime-type=certs-only"
    private_key = load_der_private_key(key.content, None)
    [choice] = cms.ContentInfo.load(certificate.content)["content"]["certificates"]
    issued = x509.load_der_x509_certificate(choice.chosen.dump())
    assert private_key.public_key() == issued.public_key()


@pytest.mark.parametrize(
    ("encrypted", "key_type"),
    [
        (False, "application/pkcs8"),
        (True, "application/pkcs7-mime; smime-type=server-generated-key"),
    ],
)
def test_rfc7030_4_4_2_parts(encrypted: bool, key_type: str) -> None:
    parts = server_key_parts(b"key", b"certificate", encrypted=encrypted)

    assert [(part.content_type, part.content) for part in parts] == [
        (key_type, b"key"),
        ("application/pkcs7-mime; smime-type=certs-only", b"certificate"),
    ]


def test_body_is_these_octets() -> None:
    assert encode_multipart([Part("application/pkcs8", b"key")]) == (
        b"--estServerBoundary\r\n"
        b"Content-Type: application/pkcs8\r\n"
        b"Content-Transfer-Encoding: base64\r\n"
        b"\r\n"
        b"a2V5\r\n"
        b"--estServerBoundary--\r\n"
    )


@pytest.mark.parametrize("content_type", ["a/b\r\nX: y", "a/б", "a/b\n"])
def test_header_of_a_part_is_one_line_of_ascii(content_type: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        encode_multipart([Part(content_type, b"x")])


PARTS = st.lists(
    st.builds(
        Part,
        st.sampled_from(["application/pkcs8", "application/pkcs7-mime; smime-type=certs-only"]),
        st.binary(min_size=1, max_size=300),
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)
@given(PARTS)
def test_any_parts_come_back_and_python_reads_the_same(parts: list[Part]) -> None:
    body = encode_multipart(parts)

    assert parse_multipart(body, MULTIPART_CONTENT_TYPE) == tuple(parts)
    assert body.count(BOUNDARY.encode()) == len(parts) + 1
    message = email.message_from_bytes(
        f"Content-Type: {MULTIPART_CONTENT_TYPE}\r\n\r\n".encode() + body, policy=email.policy.HTTP
    )
    assert not message.defects
    assert [part.get_payload(decode=True) for part in message.iter_parts()] == [
        part.content for part in parts
    ]


GOOD = encode_multipart([Part("application/pkcs8", b"key"), Part("a/b", b"certificate")])


@pytest.mark.parametrize(
    "body",
    [
        GOOD.replace(b"\r\n", b"\n"),
        b"preamble\r\n" + GOOD + b"epilogue\r\n",
        GOOD.replace(b"Content-Type", b"content-TYPE"),
        GOOD.replace(b"Content-Transfer-Encoding: base64\r\n", b""),
        GOOD.replace(b"a2V5", b"a2\r\nV5\r\n"),
    ],
    ids=["lf", "preamble_and_epilogue", "case", "rfc8951_3_no_transfer_encoding", "wrapped"],
)
def test_rfc2046_5_1_1_body_in_other_writings(body: bytes) -> None:
    assert [part.content for part in parse_multipart(body, MULTIPART_CONTENT_TYPE)] == [
        b"key",
        b"certificate",
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        GOOD.replace(b"--estServerBoundary--", b""),
        b"--estServerBoundary--\r\n",
        GOOD + b"--estServerBoundary\r\n",
        GOOD.replace(b"a2V5", b"a2V"),
        GOOD.replace(b"a2V5", b""),
        GOOD.replace(b"a2V5", b"--estServerBoundary"),
        GOOD.replace(b"Content-Type: application/pkcs8\r\n", b""),
        GOOD.replace(b"Content-Type: a/b", b"Content-Type a/b"),
        GOOD.replace(b"Content-Type: a/b", b"Content-Type: a/b\r\ncontent-type: a/b"),
        GOOD.replace(b"Content-Type: a/b", "Content-Type: б".encode()),
        GOOD.replace(b"base64\r\n\r\n", b"base64\r\n"),
    ],
    ids=[
        "empty",
        "no_end",
        "no_part",
        "part_after_the_end",
        "base64_truncated",
        "content_empty",
        "boundary_inside",
        "no_content_type",
        "no_colon",
        "header_twice",
        "not_ascii",
        "no_empty_line",
    ],
)
def test_malformed_body_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_multipart(body, MULTIPART_CONTENT_TYPE)


@pytest.mark.parametrize(
    "content_type",
    ["", "multipart/mixed", "multipart/form-data; boundary=estServerBoundary", "multipart/mixed; boundary="],
)
def test_content_type_without_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedError):
        parse_multipart(GOOD, content_type)


@pytest.mark.parametrize(
    "body",
    [
        bytes(MAX_MULTIPART_BYTES + 1),
        encode_multipart([Part("a/b", b"x")] * 5),
        GOOD.replace(
            b"Content-Type: a/b",
            b"\r\n".join([b"Content-Type: a/b", *(b"X-%d: y" % number for number in range(16))]),
        ),
    ],
    ids=["bytes", "parts", "headers"],
)
def test_body_over_a_bound_is_refused(body: bytes) -> None:
    with pytest.raises(TooLargeError):
        parse_multipart(body, MULTIPART_CONTENT_TYPE)


@settings(deadline=None)
@given(st.binary(max_size=100), st.integers(0, 300), st.integers(0, 8))
def test_any_octets_raise_only_protocol_errors(octets: bytes, at: int, cut: int) -> None:
    for body in (octets, GOOD[:at] + octets[:8] + GOOD[at + cut :]):
        with suppress(ProtocolError):
            parse_multipart(body, MULTIPART_CONTENT_TYPE)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_content_type_raises_only_protocol_errors(text: str) -> None:
    with suppress(ProtocolError):
        parse_multipart(GOOD, f"multipart/mixed; boundary={text}")
