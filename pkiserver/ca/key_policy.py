"""Decides whether a public key may be certified: what the profile allows, then known weaknesses.

Each check is one row of a table with its source. That a person's key is not certified for another person is
a question to the store, and asked elsewhere. Not looked for: a modulus that is itself prime (the test takes
over 100 ms at 4096 bits, and such a key harms only its maker), and factors shared with other keys.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from pkiserver.ca.curve_points import ED448, ED25519, NIST_CURVES, edwards_fault, weierstrass_fault
from pkiserver.ca.roca import has_roca_structure
from pkiserver.ca.rsa_numbers import has_close_primes, has_small_factor, is_perfect_power
from pkiserver.ca.weak_keys import PUBLISHED_WEAK_KEYS, WeakKeyList
from pkiserver.errors import KeyRefusedError

MIN_RSA_BITS: Final = 2048  # NIST SP 800-57 part 1 §5.6.1: less than 112 bits of strength below
MAX_RSA_BITS: Final = 8192  # no token makes larger ones; bounds the work of every check and verifier
MIN_EXPONENT: Final = 2**16 + 1
MAX_EXPONENT: Final = 2**256 - 1

_CURVE_TEXTS: Final = {"secp256r1": "ec:P-256", "secp384r1": "ec:P-384", "secp521r1": "ec:P-521"}
_RSA_TEXT: Final = re.compile(r"rsa:([1-9][0-9]{3,4})")


@dataclass(frozen=True, slots=True)
class RSACheck:
    """One reason to refuse an RSA key: `applies` is True for a key that has the fault."""

    reason: str
    source: str
    applies: Callable[[RSAPublicNumbers], bool]


RSA_CHECKS: Final = (
    RSACheck(
        f"the RSA modulus is longer than {MAX_RSA_BITS} bits",
        "own bound",
        lambda key: key.n.bit_length() > MAX_RSA_BITS,
    ),
    RSACheck(
        f"the RSA modulus is shorter than {MIN_RSA_BITS} bits",
        "CA/B BR §6.1.5, NIST SP 800-57 part 1 §5.6.1",
        lambda key: key.n.bit_length() < MIN_RSA_BITS,
    ),
    RSACheck(
        "the length of the RSA modulus in bits is not a multiple of 8",
        "CA/B BR §6.1.5",
        lambda key: key.n.bit_length() % 8 != 0,
    ),
    RSACheck("the RSA exponent is even", "CA/B BR §6.1.6, FIPS 186-5 §A.1.1", lambda key: key.e % 2 == 0),
    RSACheck(
        "the RSA exponent is not between 65537 and 2^256 - 1",
        "CA/B BR §6.1.6, FIPS 186-5 §A.1.1",
        lambda key: not MIN_EXPONENT <= key.e <= MAX_EXPONENT,
    ),
    RSACheck(
        "the RSA modulus is even or has a factor below 752",
        "CA/B BR §6.1.6, NIST SP 800-89 §5.3.3",
        lambda key: has_small_factor(key.n),
    ),
    RSACheck(
        "the RSA modulus is a power of one number",
        "CA/B BR §6.1.6, NIST SP 800-89 §5.3.3",
        lambda key: is_perfect_power(key.n),
    ),
    RSACheck(
        "the RSA key is of the vulnerable Infineon library (ROCA)",
        "CVE-2017-15361, CA/B BR §6.1.1.3",
        lambda key: has_roca_structure(key.n),
    ),
    RSACheck(
        "the primes of the RSA key are too close to each other",
        "CVE-2022-26320, CA/B BR §6.1.1.3",
        lambda key: has_close_primes(key.n),
    ),
)
WEAK_LIST_REASON: Final = "the private half of this RSA key is public (Debian weak key, CVE-2008-0166)"


def check_key(
    public_key: CertificatePublicKeyTypes,
    allowed: Collection[str],
    weak_keys: WeakKeyList = PUBLISHED_WEAK_KEYS,
) -> None:
    """Raise `KeyRefusedError`, with the reason in one line, unless the key may be certified.

    `allowed` holds `ec:P-256`, `ec:P-384`, `ec:P-521`, `ed25519`, `ed448` and `rsa:N`, which means N bits or
    more. An entry that is none of these allows nothing; `config` refuses it at the start.
    """
    if isinstance(public_key, RSAPublicKey):
        reason = _rsa_fault(public_key.public_numbers(), allowed, weak_keys)
    elif isinstance(public_key, EllipticCurvePublicKey):
        reason = _ec_fault(public_key, allowed)
    elif isinstance(public_key, Ed25519PublicKey):
        reason = _not_allowed("ed25519", allowed) or edwards_fault(ED25519, public_key.public_bytes_raw())
    elif isinstance(public_key, Ed448PublicKey):
        reason = _not_allowed("ed448", allowed) or edwards_fault(ED448, public_key.public_bytes_raw())
    else:
        reason = "keys of this algorithm are not certified"
    if reason is not None:
        raise KeyRefusedError(reason)


def _rsa_fault(key: RSAPublicNumbers, allowed: Collection[str], weak_keys: WeakKeyList) -> str | None:
    sizes = [int(found[1]) for text in allowed if (found := _RSA_TEXT.fullmatch(text))]
    if not sizes:
        return "the profile allows no RSA keys"
    for check in RSA_CHECKS:
        if check.applies(key):
            return check.reason
    if key.n.bit_length() < min(sizes):
        return f"the profile asks for RSA keys of {min(sizes)} bits or more"
    return WEAK_LIST_REASON if weak_keys.has_modulus(key.n) else None


def _ec_fault(public_key: EllipticCurvePublicKey, allowed: Collection[str]) -> str | None:
    name = public_key.curve.name
    text = _CURVE_TEXTS.get(name)
    if text is None:
        return "keys on this elliptic curve are not certified"
    numbers = public_key.public_numbers()
    return _not_allowed(text, allowed) or weierstrass_fault(NIST_CURVES[name], numbers.x, numbers.y)


def _not_allowed(text: str, allowed: Collection[str]) -> str | None:
    return None if text in allowed else f"the profile does not allow {text} keys"
