"""What the signer makes of a token's faults: nothing wrong leaves, and it serves again by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from pkiserver.signer import circuit
from pkiserver.signer.algorithms import KeySpec, load_public_key, verify
from pkiserver.signer.circuit import CircuitState
from pkiserver.signer.client import Signer
from pkiserver.signer.errors import SignerError, SignerSecretError, SignerUnavailableError
from pkiserver.signer.settings import SignerSettings
from protocols.errors import ErrorKind
from tests.faulty_token import FaultyModule

P256 = KeySpec.parse("ec:P-256")
PATIENCE_S = 60.0
GENERAL_ERROR, FUNCTION_FAILED, DEVICE_ERROR, KEY_HANDLE_INVALID = 0x05, 0x06, 0x30, 0x60


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is a state of other processes
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(circuit, "LONGEST_PAUSE_S", 0.1)


@pytest.fixture
async def signer(faulty_settings: SignerSettings) -> AsyncIterator[Signer]:
    """Two workers on a faulty token with two keys, both serving."""
    started = Signer(faulty_settings, workers=2, deadline_s=3.0, generate_deadline_s=PATIENCE_S)
    await started.start()
    await started.generate("key", P256)
    await started.generate("other", P256)
    await until(lambda: started.serving == 2)
    yield started
    await started.close()


async def signs(signer: Signer, data: bytes = b"data") -> None:
    verify(load_public_key(await signer.public_key("key")), await signer.sign("key", data), data)


@pytest.mark.parametrize(
    ("fault", "counted", "replaced"),
    [
        ("session_closed once", "session", 0),
        (f"sign_error {KEY_HANDLE_INVALID} once", "session", 0),
        (f"sign_error {DEVICE_ERROR} once", "device", 1),
        (f"sign_error {GENERAL_ERROR} once", "device", 1),
        ("other_key once", "signature", 1),
        ("crash once", "lost", 1),
    ],
)
async def test_a_fault_that_passes_is_not_noticed(
    signer: Signer, faulty: FaultyModule, fault: str, counted: str, replaced: int
) -> None:
    await signs(signer)
    faulty.fail(fault)
    await signs(signer)
    assert faulty.struck
    await until(lambda: signer.serving == 2)
    assert signer.statistics.faults == {counted: 1}
    assert (signer.statistics.reopened, signer.restarts) == (1 - replaced, replaced)
    await signs(signer)
    assert signer.circuit is CircuitState.CLOSED


@pytest.mark.parametrize(
    "fault", [f"sign_error {FUNCTION_FAILED}", "other_key", "removed", "session_closed", "crash"]
)
async def test_a_fault_that_stays_is_told_and_mended(
    signer: Signer, faulty: FaultyModule, fault: str
) -> None:
    faulty.fail(fault)
    for _ in range(6):
        with pytest.raises(SignerUnavailableError) as caught:
            await signer.sign("key", b"data")
        assert caught.value.kind is ErrorKind.UNAVAILABLE
    await until(lambda: signer.circuit is CircuitState.RETRYING)
    faulty.mend()
    await until(lambda: signer.serving == 2)
    await signs(signer)
    assert (signer.circuit, signer.failure) == (CircuitState.CLOSED, None)


async def test_a_hanging_token_is_killed(signer: Signer, faulty: FaultyModule) -> None:
    await signs(signer)
    pids = signer.pids
    faulty.fail("hang once")
    with pytest.raises(SignerUnavailableError, match="in time"):
        await signer.sign("key", b"data")
    await signs(signer)  # by the other worker
    await until(lambda: signer.serving == 2 and signer.restarts == 1)
    assert signer.statistics.faults == {"hung": 1}
    assert len(set(pids) & set(signer.pids)) == 1


async def test_a_pin_that_is_refused_is_tried_once(signer: Signer, faulty: FaultyModule) -> None:
    """Both sessions are closed under us and the PIN is wrong by now: one try, and no more."""
    logins = faulty.logins
    assert logins == 2
    faulty.fail("session_closed")
    with pytest.raises(SignerError):
        await asyncio.gather(*(signer.sign("key", bytes([number])) for number in range(4)))
    faulty.fail("wrong_pin")
    await until(lambda: signer.circuit is CircuitState.OPEN)
    with pytest.raises(SignerSecretError, match="PinIncorrect"):
        await signer.sign("key", b"data")
    refused = faulty.logins
    faulty.mend()  # the circuit stays open, though the PIN would be taken now
    with pytest.raises(SignerSecretError):
        await signer.sign("key", b"data")
    assert (signer.serving, faulty.logins, signer.statistics.faults["secret"]) == (0, refused, 1)
    signer.reset()
    await until(lambda: signer.serving == 2)
    await signs(signer)
    assert faulty.logins == refused + 2


async def test_many_workers_log_in_at_once(faulty_settings: SignerSettings, faulty: FaultyModule) -> None:
    signer = Signer(faulty_settings, workers=8)
    await signer.start()
    try:
        await signer.generate("key", P256)
        await until(lambda: signer.serving == 8)
        await asyncio.gather(*(signs(signer, bytes([number])) for number in range(64)))
        assert (signer.restarts, faulty.logins, signer.statistics.faults) == (0, 8, {})
    finally:
        await signer.close()


async def test_a_slow_token_gets_one_request_at_a_time(signer: Signer, faulty: FaultyModule) -> None:
    """What waits behind a slow signature is not tied to one worker: any that becomes free takes it."""
    await signs(signer)
    faulty.fail("latency 20000")
    await asyncio.gather(*(signer.sign("key", bytes([number])) for number in range(20)))
    taken = signer.statistics.signature_s("key")
    assert taken is not None
    assert taken > 0.005
    assert signer._frame_length("key") < 4
    await signs(signer)
