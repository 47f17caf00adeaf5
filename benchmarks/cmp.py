"""CMP: what reading a message costs before anything is believed, beside pyasn1 reading the same octets.

Whole transactions are measured in `cmp_transactions`.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pyasn1.codec.der.decoder import decode
from pyasn1_alt_modules import rfc9810

from benchmarks import cmp_transactions
from benchmarks.figures import Figure
from protocols.cmp.crmf import parse_cert_req_messages
from protocols.cmp.general_info import read_general_info
from protocols.cmp.message import PKIMessage, build_pki_message, parse_pki_message
from protocols.cmp.protection import read_protection, verify_mac

VECTORS: Final = Path(__file__).parent.parent / "tests" / "vectors" / "cmp"
SIGNED: Final = "openssl_cr_p256"
BY_MAC: Final = "openssl_ir_pbm"
SECRET: Final = b"vector"  # of the vectors
AIM_US: Final = 40.0
ROUNDS: Final = 5
_ROUND_S: Final = 0.1  # of CPU time; the best of the rounds is the least disturbed by neighbours


def cpu_us(work: Callable[[], object]) -> float:
    """Return the CPU time of one call in microseconds, the best of some rounds."""
    calls, best = 1, float("inf")
    while (spent := _spent_s(work, calls)) < _ROUND_S:
        calls = max(2 * calls, int(calls * _ROUND_S / max(spent, 1e-6)))
    for _ in range(ROUNDS):
        best = min(best, _spent_s(work, calls) / calls)
    return best * 1e6


def _spent_s(work: Callable[[], object], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        work()
    return time.process_time() - start


def _read(data: bytes) -> PKIMessage:
    """Read a message and its header as the server does before it looks for a key or a secret."""
    message = parse_pki_message(data)
    read_general_info(message.header.general_info)
    if message.header.protection_alg is not None:
        read_protection(message.header.protection_alg)
    return message


def _reading(what: str, name: str) -> Figure:
    data = (VECTORS / f"{name}.der").read_bytes()
    ours = cpu_us(lambda: _read(data))
    theirs = cpu_us(lambda: decode(data, asn1Spec=rfc9810.PKIMessage()))
    return Figure(
        f"{what}: parse and header, CPU",
        f"{ours:.1f} µs",
        f"pyasn1: {theirs:.0f} µs",
        ours / theirs,
        f"<= {AIM_US:g} µs",
        ours <= AIM_US,
    )


def _costs() -> list[Figure]:
    """Return what the steps that follow cost."""
    signed, by_mac = (parse_pki_message((VECTORS / f"{name}.der").read_bytes()) for name in (SIGNED, BY_MAC))
    work: dict[str, Callable[[], object]] = {
        "CertReqMessages of one request: parse, CPU": lambda: parse_cert_req_messages(
            signed.body.content_der
        ),
        "PBM of 500 iterations: verify, CPU": lambda: verify_mac(by_mac, SECRET),
        "PKIMessage: build, CPU": lambda: build_pki_message(
            signed.header, signed.body, b"", signed.extra_certs
        ),
    }
    return [Figure(name, f"{cpu_us(call):.1f} µs") for name, call in work.items()]


def run(folder: Path, _certificates: int, seconds: int) -> list[Figure]:
    """Measure the codecs of CMP by themselves, and whole transactions at a server."""
    return [
        _reading("PKIMessage, signed, implicitConfirm", SIGNED),
        _reading("PKIMessage, PBM", BY_MAC),
        *_costs(),
        *cmp_transactions.run(folder, seconds),
    ]
