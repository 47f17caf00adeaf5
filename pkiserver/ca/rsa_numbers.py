"""Arithmetic on RSA moduli that the key policy asks for; each answer takes bounded, small work."""

from functools import cache
from math import gcd, isqrt, log2, prod
from typing import Final

SMALLEST_FACTOR: Final = 752  # NIST SP 800-89 §5.3.3
FERMAT_ROUNDS: Final = 100  # CA/B BR §6.1.1.3
_PRIMES: Final = tuple(p for p in range(2, SMALLEST_FACTOR) if all(p % q for q in range(2, isqrt(p) + 1)))
_PRODUCT: Final = prod(_PRIMES)
_RESIDUE_TESTS: Final = 3  # primes tried before a root is taken; about k^-3 of the moduli come that far
# Squares leave few residues modulo these: 12 of 64 and 1 in 21 of the product of the others.
_SQUARES: Final = tuple(
    (modulus, frozenset(x * x % modulus for x in range(modulus))) for modulus in (64, 63, 65, 11, 17, 19)
)


def has_small_factor(modulus: int) -> bool:
    """Return True when a prime below 752 divides `modulus` (an even one among them)."""
    return gcd(modulus, _PRODUCT) != 1


def has_close_primes(modulus: int) -> bool:
    """Return True when Fermat's method factors the odd `modulus` within `FERMAT_ROUNDS` (CVE-2022-26320)."""
    root = isqrt(modulus)
    root += root * root < modulus
    square = root * root - modulus
    for _ in range(FERMAT_ROUNDS):
        if _is_square(square):
            return True
        square += 2 * root + 1
        root += 1
    return False


def _is_square(value: int) -> bool:
    if any(value % modulus not in residues for modulus, residues in _SQUARES):
        return False
    return isqrt(value) ** 2 == value


def is_perfect_power(modulus: int) -> bool:
    """Return True when `modulus`, without factors below 752, is b^k, k > 1 (NIST SP 800-89 §5.3.3)."""
    largest = int(modulus.bit_length() / log2(SMALLEST_FACTOR)) + 1
    return any(_is_power(modulus, exponent) for exponent in _PRIMES if exponent <= largest)


def _is_power(value: int, exponent: int) -> bool:
    for prime in _residue_primes(exponent):
        residue = value % prime
        if residue and pow(residue, (prime - 1) // exponent, prime) != 1:
            return False
    root = _root(value, exponent)
    return prod([root] * exponent) == value


@cache
def _residue_primes(exponent: int) -> tuple[int, ...]:
    """Return small primes p with `exponent` dividing p - 1: a power is 1 there after (p - 1) / exponent."""
    found: list[int] = []
    candidate = 2 * exponent + 1 if exponent > 2 else 3
    while len(found) < _RESIDUE_TESTS:
        if all(candidate % q for q in range(2, isqrt(candidate) + 1)):
            found.append(candidate)
        candidate += exponent if exponent == 2 else 2 * exponent
    return tuple(found)


def _root(value: int, exponent: int) -> int:
    """Return the integer part of the root, by Newton's method from above."""
    root = 1 << -(-value.bit_length() // exponent)
    while True:
        closer = ((exponent - 1) * root + value // root ** (exponent - 1)) // exponent
        if closer >= root:
            return root
        root = closer
