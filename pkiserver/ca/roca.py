"""Recognises RSA moduli made by the Infineon library of CVE-2017-15361 (ROCA).

Facts: Nemec, Sys, Svenda, Klinec, Matyas, "The Return of Coppersmith's Attack", CCS 2017, §2. Every prime
of that library is k·M + (65537^a mod M) with M a product of the first primes (39 of them for the smallest
keys, more for larger ones), so a modulus is a power of 65537 modulo M. Each prime up to 167 divides M for
every key size, which makes one test right for all of them.
"""

from math import gcd, lcm
from typing import Final

_GENERATOR: Final = 65537
# The primes to 167: the divisors that the M of all key sizes have in common. 2 tells nothing.
_PRIMES: Final = tuple(p for p in range(3, 168) if all(p % q for q in range(2, p)))


def _logarithms(prime: int) -> dict[int, int]:
    """Return for each power of 65537 modulo `prime` its exponent; the size is the order of 65537."""
    table: dict[int, int] = {}
    power = 1
    while power not in table:
        table[power] = len(table)
        power = power * _GENERATOR % prime
    return table


_LOGARITHMS: Final = tuple((prime, _logarithms(prime)) for prime in _PRIMES)


def has_roca_structure(modulus: int) -> bool:
    """Return True when one exponent explains `modulus` as a power of 65537 modulo every prime from 3 to 167.

    No key of that library is missed. The powers are about 2^62 of 2^215 possible residues, so that a sound
    key is taken for one with a chance near 2^-153. Most sound keys leave after two or three primes.
    """
    exponent, order = 0, 1
    for prime, logarithms in _LOGARITHMS:
        logarithm = logarithms.get(modulus % prime)
        if logarithm is None:
            return False
        merged = _merge(exponent, order, logarithm, len(logarithms))
        if merged is None:
            return False
        exponent, order = merged
    return True


def _merge(first: int, first_modulus: int, second: int, second_modulus: int) -> tuple[int, int] | None:
    """Return the residue and modulus that hold both congruences, None when they contradict each other."""
    common = gcd(first_modulus, second_modulus)
    difference, remainder = divmod(second - first, common)
    if remainder:
        return None
    step = second_modulus // common
    factor = difference * pow(first_modulus // common, -1, step) % step
    both = lcm(first_modulus, second_modulus)
    return (first + first_modulus * factor) % both, both
