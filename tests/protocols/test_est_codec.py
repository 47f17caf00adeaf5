"""EST bodies: every way a client sends its PKCS #10, and how it gets its answer."""

import base64
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.asn1 import der
from protocols.errors import BadPOPError, ErrorKind, MalformedError, ProtocolError, TooLargeError
from protocols.est.request import (
    CMC_CONTENT_TYPE,
    CSR_CONTENT_TYPE,
    MAX_BODY_BYTES,
    MAX_CMC_BYTES,
    UnsupportedMediaTypeError,
    decode_cmc,
    decode_csr,
)
from protocols.est.response import encode_body
from protocols.x509.certs_only import certs_only
from protocols.x509.csr import MAX_CSR_BYTES, parse_csr

VECTORS = Path(__file__).parent.parent / "vectors"
CSR = (VECTORS / "x509" / "openssl_p256.der").read_bytes()
ISSUER = (VECTORS / "crl" / "openssl_full_issuer.der").read_bytes()
LINE = base64.b64encode(CSR)
WRAPPED = "\n".join(textwrap.wrap(LINE.decode(), 64)).encode()


def vector(name: str) -> bytes:
    return (VECTORS / "est" / name).read_bytes()


def pem(label: str = "CERTIFICATE REQUEST", body: bytes = WRAPPED) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + body + f"\n-----END {label}-----\n".encode()


# ---- requests


@pytest.mark.parametrize(
    "body",
    [
        LINE,
        LINE + b"\n",
        b"\r\n" + LINE + b"\r\n",
        WRAPPED,
        WRAPPED.replace(b"\n", b"\r\n") + b"\r\n",
        pem(),
        pem("NEW CERTIFICATE REQUEST"),
        pem().replace(b"\n", b"\r\n"),
        pem(body=LINE),
        CSR,
    ],
    ids=[
        "rfc8951_3_1_one_line",
        "one_line_with_end",
        "line_ends_around",
        "rfc2045_wrapped",
        "rfc2045_wrapped_crlf",
        "rfc7468_7_pem",
        "rfc7468_7_new_certificate_request",
        "pem_crlf",
        "pem_one_line",
        "der",
    ],
)
def test_request_is_decoded(body: bytes) -> None:
    assert decode_csr(body, CSR_CONTENT_TYPE) == CSR


@pytest.mark.parametrize(
    "content_type",
    [
        "application/pkcs10",
        "Application/PKCS10",
        "application/pkcs10; charset=utf-8",
        "application/pkcs10 ;x=y",
    ],
)
def test_rfc7030_4_2_1_content_type_is_taken(content_type: str) -> None:
    assert decode_csr(LINE, content_type) == CSR


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/pkcs10x", "x; application/pkcs10"]
)
def test_rfc7030_4_2_1_other_content_type_is_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaTypeError) as refusal:
        decode_csr(LINE, content_type)

    assert refusal.value.kind is ErrorKind.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"hello",
        LINE[:-1],
        LINE + b"=",
        LINE.replace(b"M", b"*", 1),
        LINE + b"\n" + LINE,
        base64.urlsafe_b64encode(b"\x30\x82\xfb\xff" * 3),
        base64.b64encode(b"\x31\x00"),
        base64.b64encode(CSR + b"\x00"),
        CSR + b"\n",
        CSR[:-1],
        pem("CERTIFICATE"),
        pem() + pem(),
        pem() + b"x",
        pem(body=b"Proc-Type: 4,ENCRYPTED\n\n" + WRAPPED),
        pem(body=b""),
        pem().replace(b"-----END CERT", b"-----END NEW CERT"),
        pem()[:-8],
    ],
    ids=[
        "empty",
        "blank",
        "text",
        "truncated",
        "padding",
        "alphabet",
        "twice",
        "rfc4648_5_url_alphabet",
        "no_sequence",
        "octet_after",
        "der_with_line_end",
        "der_truncated",
        "pem_certificate",
        "pem_twice",
        "pem_text_after",
        "pem_headers",
        "pem_empty",
        "pem_labels_differ",
        "pem_truncated",
    ],
)
def test_malformed_body_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_csr(body, CSR_CONTENT_TYPE)


def test_size_is_bounded_as_sent_and_as_decoded() -> None:
    largest = der.sequence(bytes(MAX_CSR_BYTES - 4))

    assert decode_csr(base64.b64encode(largest), CSR_CONTENT_TYPE) == largest
    with pytest.raises(TooLargeError):
        decode_csr(base64.b64encode(der.sequence(bytes(MAX_CSR_BYTES - 3))), CSR_CONTENT_TYPE)
    with pytest.raises(TooLargeError):
        decode_csr(b"A" * (MAX_BODY_BYTES + 1), CSR_CONTENT_TYPE)


def test_rfc7030_a_3_example_is_read_up_to_its_sha1_signature() -> None:
    csr_der = decode_csr(vector("rfc7030_a_3_enroll_request.b64"), CSR_CONTENT_TYPE)

    with pytest.raises(BadPOPError, match="SHA-1"):
        parse_csr(csr_der)


CMC_REQUEST = (VECTORS / "cmc" / "openssl_full_request.der").read_bytes()
CMC_STREAM = (VECTORS / "cmc" / "openssl_full_request_stream.ber").read_bytes()


@pytest.mark.parametrize("message", [CMC_REQUEST, CMC_STREAM], ids=["der", "ber"])
def test_rfc7030_4_3_1_cmc_message_is_decoded_from_every_form(message: bytes) -> None:
    wrapped = "\n".join(textwrap.wrap(base64.b64encode(message).decode(), 64)).encode()

    for body in (message, encode_body(message), wrapped, pem("CMS", wrapped), pem("PKCS7", wrapped)):
        assert decode_cmc(body, "application/pkcs7-mime; smime-type=CMC-request") == message


@pytest.mark.parametrize(
    "content_type",
    [
        "application/pkcs7-mime",
        "Application/PKCS7-MIME;smime-type=cmc-request",
        'application/pkcs7-mime; name=x.p7m; smime-type="CMC-Request"',
    ],
)
def test_rfc5273_3_content_type_is_taken(content_type: str) -> None:
    assert decode_cmc(CMC_REQUEST, content_type) == CMC_REQUEST


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/pkcs10",
        "application/pkcs7-mime; smime-type=certs-only",
        "application/pkcs7-mime; smime-type=CMC-response",
        "application/pkcs7-mime; smime-type=",
        "application/pkcs7-mime; smime-type=CMC-request-2",
    ],
)
def test_rfc5273_3_other_content_type_is_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        decode_cmc(CMC_REQUEST, content_type)


@pytest.mark.parametrize("body", [b"", b"hello", pem("CERTIFICATE REQUEST"), pem("CMS", b"")])
def test_body_that_is_no_cmc_message_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_cmc(body, CMC_CONTENT_TYPE)


def test_cmc_message_is_bounded_and_the_largest_fits_in_lines() -> None:
    largest = b"0" + bytes(MAX_CMC_BYTES - 1)
    line = base64.b64encode(largest)
    wrapped = b"\r\n".join(line[at : at + 64] for at in range(0, len(line), 64))

    assert decode_cmc(pem("CMS", wrapped), CMC_CONTENT_TYPE) == largest
    with pytest.raises(TooLargeError):
        decode_cmc(base64.b64encode(largest + b"0"), CMC_CONTENT_TYPE)
    with pytest.raises(TooLargeError):
        decode_cmc(largest + b"0", CMC_CONTENT_TYPE)


@given(
    st.one_of(
        st.binary(max_size=200), st.text(st.characters(max_codepoint=127), max_size=200).map(str.encode)
    )
)
def test_any_body_raises_only_protocol_errors(octets: bytes) -> None:
    for body in (octets, b"0" + octets, pem(body=octets), base64.b64encode(octets)):
        try:
            decoded = decode_csr(body, CSR_CONTENT_TYPE)
        except ProtocolError:
            continue
        assert decoded[0] == der.SEQUENCE


@given(st.binary(max_size=300), st.integers(4, 80))
def test_any_sequence_comes_back_from_every_form(content: bytes, width: int) -> None:
    encoded = der.sequence(content)
    wrapped = "\n".join(textwrap.wrap(base64.b64encode(encoded).decode(), width)).encode()

    for body in (encoded, encode_body(encoded), wrapped, pem(body=wrapped)):
        assert decode_csr(body, CSR_CONTENT_TYPE) == encoded


# ---- responses


def test_rfc8951_3_1_body_is_one_line_of_base64() -> None:
    body = encode_body(certs_only([ISSUER]))

    assert b"\n" not in body
    assert base64.b64decode(body, validate=True) == certs_only([ISSUER])
