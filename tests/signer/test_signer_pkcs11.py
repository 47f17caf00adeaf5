"""The PKCS#11 key store: what a token is asked, and what is believed of it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as p11

from pkiserver.signer.algorithms import KeySpec, verify
from pkiserver.signer.client import Signer
from pkiserver.signer.errors import (
    KeyExistsError,
    KeyNotFoundError,
    SessionLostError,
    SignerSecretError,
    SignerSettingsError,
    SignerUnavailableError,
    TokenSignatureError,
    UnsupportedKeyError,
)
from pkiserver.signer.pkcs11 import Pkcs11KeyStore
from pkiserver.signer.pkcs11_keys import ec_public_key, point
from pkiserver.signer.settings import SignerSettings
from protocols.asn1 import der
from protocols.errors import ProtocolError

P256 = KeySpec.parse("ec:P-256")

# Runs in a process of its own, for a module's state belongs to one process and one token folder.
INSPECT = """
import json, sys, pkcs11
from pkcs11 import Attribute as A, ObjectClass as O
module, token, pin = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin)
private, = session.get_objects({A.CLASS: O.PRIVATE_KEY})
public, = session.get_objects({A.CLASS: O.PUBLIC_KEY, A.ID: private[A.ID]})
flags = ("TOKEN", "PRIVATE", "SENSITIVE", "EXTRACTABLE", "NEVER_EXTRACTABLE", "SIGN")
print(json.dumps([private[A.LABEL], public[A.LABEL], private[A.ID].hex(), {f: private[A[f]] for f in flags}]))
"""
SERIAL = """
import sys, pkcs11
print(pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2]).serial.decode())
"""


def run_script(script: str, settings: SignerSettings, *arguments: str) -> str:
    command = [sys.executable, "-c", script, str(settings.module), str(settings.token_label), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("text", ["ec:P-256", "rsa:2048", "ed25519"])
async def test_generated_key_stays_inside(
    token_settings: SignerSettings, secret_of: Callable[[SignerSettings], str], text: str
) -> None:
    signer = Signer(token_settings)
    await signer.start()
    try:
        await signer.generate("key", KeySpec.parse(text))
    finally:
        await signer.close()
    shown = run_script(INSPECT, token_settings, secret_of(token_settings))
    private_label, public_label, identifier, flags = json.loads(shown)
    assert (private_label, public_label) == ("key", "key")
    assert len(bytes.fromhex(identifier)) == 20
    wanted = dict.fromkeys(("TOKEN", "PRIVATE", "SENSITIVE", "NEVER_EXTRACTABLE", "SIGN"), True)
    assert flags == {**wanted, "EXTRACTABLE": False}


async def test_absent_token_is_unavailable(token_settings: SignerSettings) -> None:
    for settings in (
        replace(token_settings, token_label="other"),
        replace(token_settings, token_serial="0000"),
        replace(token_settings, module="/nonexistent/module.so"),
    ):
        with pytest.raises(SignerUnavailableError):
            await Signer(settings).start()


async def test_two_tokens_of_a_label_need_the_serial(
    token_settings: SignerSettings, make_token: Callable[..., None]
) -> None:
    make_token()
    with pytest.raises(SignerSettingsError, match="serial"):
        await Signer(token_settings).start()


async def test_token_is_found_by_serial(token_settings: SignerSettings) -> None:
    serial = run_script(SERIAL, token_settings).strip()
    signer = Signer(replace(token_settings, token_serial=serial))
    await signer.start()
    await signer.close()


class FakeObject(dict[Attribute, Any]):
    """A token's object: attributes, and for private keys a way to sign."""

    key_type = KeyType.EC

    def sign(self, data: bytes, mechanism: Mechanism) -> bytes:
        assert mechanism is Mechanism.ECDSA
        signed = self["signer"](data)  # type: ignore[index]  # beside the attributes
        assert isinstance(signed, bytes)
        return signed


class FakeSession:
    """As much of a python-pkcs11 session as the key store uses."""

    def __init__(self, objects: list[FakeObject], mechanisms: frozenset[Mechanism] = frozenset()) -> None:
        self.objects = objects
        self.token = SimpleNamespace(slot=SimpleNamespace(get_mechanisms=lambda: mechanisms))

    def get_objects(self, wanted: dict[Attribute, Any]) -> Iterator[FakeObject]:
        return (found for found in self.objects if wanted.items() <= found.items())

    def close(self) -> None:
        raise p11.SessionClosed


KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def raw_signature(key: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    def sign(digest: bytes) -> bytes:
        r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256()))))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def fake_pair(
    signer: Callable[[bytes], bytes], label: str = "key", identifier: bytes = b"1"
) -> list[FakeObject]:
    encoded = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    common = {Attribute.LABEL: label, Attribute.ID: identifier}
    private = FakeObject(
        {
            **common,
            Attribute.CLASS: ObjectClass.PRIVATE_KEY,
            Attribute.SIGN: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
        }
    )
    private["signer"] = signer  # type: ignore[index]  # beside the attributes
    public = {
        **common,
        Attribute.CLASS: ObjectClass.PUBLIC_KEY,
        Attribute.EC_PARAMS: der.oid("1.2.840.10045.3.1.7"),
        Attribute.EC_POINT: der.octet_string(encoded),
    }
    return [private, FakeObject(public)]


def store_of(objects: list[FakeObject], mechanisms: frozenset[Mechanism] = frozenset()) -> Pkcs11KeyStore:
    return Pkcs11KeyStore(lambda: FakeSession(objects, mechanisms))


def raising(error: Exception) -> Callable[[bytes], bytes]:
    def sign(_: bytes) -> bytes:
        raise error

    return sign


def test_good_signature_is_released() -> None:
    store = store_of(fake_pair(raw_signature(KEY)))
    verify(KEY.public_key(), store.sign("key", b"data"), b"data")
    store.close()  # the session that is gone already does no harm


@pytest.mark.parametrize(
    "signer",
    [raw_signature(OTHER), lambda _: bytes(64), lambda _: b"", lambda _: b"\1" * 63, lambda _: b"\xff" * 64],
    ids=["another key", "zeros", "nothing", "odd length", "out of range"],
)
def test_wrong_signature_is_not_released(signer: Callable[[bytes], bytes]) -> None:
    store = store_of(fake_pair(signer))
    with pytest.raises(TokenSignatureError):
        store.sign("key", b"data")
    store.reopen()
    with pytest.raises(TokenSignatureError):
        store.sign_many("key", [b"data"])
    store.reopen()
    with pytest.raises(TokenSignatureError):
        store.sign_digest("key", bytes(32))
    with pytest.raises(SessionLostError):  # after a wrong signature the session is given up
        store.sign("key", b"data")


def test_a_handle_does_not_outlive_its_session() -> None:
    """The same label is looked up anew: its handle may be that of another key by now."""
    sessions = [FakeSession(fake_pair(raw_signature(KEY))), FakeSession(fake_pair(raw_signature(OTHER)))]
    store = Pkcs11KeyStore(iter(sessions).__next__)
    store.sign("key", b"data")
    store.reopen()
    with pytest.raises(TokenSignatureError):
        store.sign("key", b"data")
    with pytest.raises(SessionLostError):
        store.public_key("key")


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (p11.DeviceRemoved(), SignerUnavailableError),
        (p11.SessionHandleInvalid(), SessionLostError),
        (p11.KeyHandleInvalid(), SessionLostError),
        (p11.UserNotLoggedIn(), SessionLostError),
        (p11.FunctionFailed(), SignerUnavailableError),
        (p11.DeviceError(), SignerUnavailableError),
        (p11.PinLocked(), SignerSecretError),
        (p11.PinIncorrect("quotes 1234"), SignerSecretError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_token_errors_are_translated(error: Exception, wanted: type[Exception]) -> None:
    store = store_of(fake_pair(raising(error)))
    with pytest.raises(wanted) as caught:
        store.sign("key", b"data")
    assert type(error).__name__ in str(caught.value)
    assert "1234" not in str(caught.value)


def _without(attribute: Attribute, objects: list[FakeObject]) -> list[FakeObject]:
    objects[0][attribute] = b"" if attribute is Attribute.ID else False
    return objects


def _extractable(objects: list[FakeObject]) -> list[FakeObject]:
    objects[0][Attribute.EXTRACTABLE] = True
    return objects


@pytest.mark.parametrize(
    ("objects", "wanted"),
    [
        ([], KeyNotFoundError),
        (fake_pair(raw_signature(KEY)) + fake_pair(raw_signature(OTHER), identifier=b"2"), KeyExistsError),
        (fake_pair(raw_signature(KEY)) + fake_pair(raw_signature(KEY), label="other"), KeyExistsError),
        (fake_pair(raw_signature(KEY))[:1], KeyNotFoundError),
        (_without(Attribute.ID, fake_pair(raw_signature(KEY))), UnsupportedKeyError),
        (_without(Attribute.SIGN, fake_pair(raw_signature(KEY))), UnsupportedKeyError),
        (_without(Attribute.SENSITIVE, fake_pair(raw_signature(KEY))), UnsupportedKeyError),
        (_extractable(fake_pair(raw_signature(KEY))), UnsupportedKeyError),
    ],
    ids=[
        "no key",
        "label twice",
        "CKA_ID twice",
        "no public key",
        "no CKA_ID",
        "may not sign",
        "not sensitive",
        "extractable",
    ],
)
def test_key_that_is_not_clear_is_not_used(objects: list[FakeObject], wanted: type[Exception]) -> None:
    with pytest.raises(wanted):
        store_of(objects).sign("key", b"data")


MADE_INSIDE = (Attribute.LOCAL, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)


@pytest.mark.parametrize("lacks", MADE_INSIDE, ids=lambda mark: mark.name)
def test_a_key_that_was_brought_in_is_told_from_one_made_inside(lacks: Attribute) -> None:
    objects = fake_pair(raw_signature(KEY))
    objects[0].update(dict.fromkeys(MADE_INSIDE, True))
    store_of(objects).require_made_inside("key")
    objects[0][lacks] = False
    with pytest.raises(UnsupportedKeyError, match=lacks.name):
        store_of(objects).require_made_inside("key")


def test_kind_of_key_that_the_token_lacks_is_refused() -> None:
    store = store_of([], frozenset({Mechanism.EC_KEY_PAIR_GEN}))
    with pytest.raises(UnsupportedKeyError, match="ed25519"):
        store.generate("key", KeySpec.parse("ed25519"))


def test_labels_not_of_our_form_are_not_listed() -> None:
    objects = fake_pair(raw_signature(KEY)) + fake_pair(raw_signature(KEY), label="not ours")
    assert store_of(objects).labels() == ["key"]


def test_point_wrapped_or_bare() -> None:
    bare = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    parameters = der.oid("1.2.840.10045.3.1.7")
    for encoded in (bare, der.octet_string(bare)):
        assert ec_public_key(parameters, encoded) == KEY.public_key()
    with pytest.raises(UnsupportedKeyError):
        ec_public_key(der.oid("1.3.132.0.10"), bare)


@given(st.binary(max_size=80))
def test_point_raises_only_what_is_translated(encoded: bytes) -> None:
    try:
        point(encoded, 65)
        ec_public_key(der.oid("1.2.840.10045.3.1.7"), encoded)
    except (ProtocolError, ValueError):
        return
