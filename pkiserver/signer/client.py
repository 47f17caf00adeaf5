"""`Signer`: what the server sees of its keys. Requests wait in a bounded queue for the worker processes.

- A request waits no longer than its deadline, whatever happens to the workers.
- A worker that holds one request longer than that is killed (SIGKILL) and replaced.
- A worker that ends is replaced: the first time at once, then after growing pauses until one serves again.
  One that only lost its session with the token opens another.
- The request that a worker was lost with is given to another once more, by itself, for signing is
  idempotent: a second signature over the same octets does no harm. `generate` is not: it fails, and the
  label tells afterwards whether the key was made.
- A wrong passphrase or PIN opens the circuit: no log-in is tried any more until an operator has acted and
  says so (`reset`). Workers that are logged in go on; where there is none, every request is refused with
  `SignerSecretError`.

A process forked from the server would share the workers' sockets: start it before `start`, or spawn it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from pkiserver.signer.algorithms import KeySpec, verify, verify_digest
from pkiserver.signer.circuit import CircuitState
from pkiserver.signer.errors import (
    BadSignatureError,
    RequestTooLargeError,
    SignerSettingsError,
    SignerUnavailableError,
    TokenSignatureError,
)
from pkiserver.signer.keystore import check_label
from pkiserver.signer.pool import Pool
from pkiserver.signer.removal import removal_command
from pkiserver.signer.secret import ask_secret
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.statistics import Statistics
from pkiserver.signer.wire import MAX_FRAME_BYTES, Operation

DEADLINE_S: Final = 10.0
GENERATE_DEADLINE_S: Final = 120.0  # RSA-4096 in hardware takes tens of seconds
MAX_WAITING: Final = 256  # at 5 ms a signature the last of them waits 1.3 s; more is better refused
MAX_BATCH: Final = 512  # signatures in one frame
FRAME_AIM_S: Final = 0.014  # what one frame takes: other requests get their turn in between
FIRST_FRAME: Final = 16  # signatures in a frame of a key that was not used yet
MAX_BATCH_BYTES: Final = 1 << 20  # likewise; one larger octet string travels alone
Verify = Callable[[PublicKeyTypes, bytes, bytes], None]
MAX_DATA_BYTES: Final = MAX_FRAME_BYTES - 1024  # leaves room for the head of the frame


class Signer:
    """Keys of one key store, used from one event loop. Every method raises `SignerError`s only.

    Those of the key store (`keystore.KeyStore`), and: `SignerBusyError` at once when `max_waiting`
    requests wait, `SignerUnavailableError` when there was no answer in `deadline_s` (or, for `generate`,
    `generate_deadline_s`) or the token failed, `SignerSecretError` as told above.
    """

    def __init__(
        self,
        settings: SignerSettings,
        *,
        workers: int = 1,
        deadline_s: float = DEADLINE_S,
        generate_deadline_s: float = GENERATE_DEADLINE_S,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._deadline_s = deadline_s
        self._generate_deadline_s = generate_deadline_s
        self._max_waiting = max_waiting
        self._pool: Pool | None = None
        self._closed_because = "the signer is not started"
        self._expected: dict[str, PublicKeyTypes] = {}
        self.statistics: Final = Statistics()

    async def start(self) -> None:
        """Start the workers and return when the first has its key store open.

        Raises the `SignerError` by which it refused, after one try; the signer is then as if never started.
        """
        if self._pool is not None:
            return
        typed = await asyncio.to_thread(ask_secret, "PIN") if self._settings.pin_prompt else None
        pool = Pool(
            self._settings,
            self.statistics,
            workers=self._workers,
            max_waiting=self._max_waiting,
            deadline_s=self._deadline_s,
            typed=typed,
        )
        await pool.start()
        self._pool = pool

    async def close(self) -> None:
        """End the workers; requests that still wait fail with `SignerUnavailableError`."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._closed_because = "the signer is closed"
            await pool.close()

    @property
    def asks_pin(self) -> bool:
        """Whether a person types the PIN."""
        return self._settings.pin_prompt

    def reset(self, typed: bytes | None = None) -> None:
        """Close the circuit: an operator has mended passphrase, PIN or token; log-ins are tried again.

        `typed` is another PIN, for all log-ins from now on; `SignerSettingsError` where it is not typed.
        """
        if typed is not None and not self._settings.pin_prompt:
            raise SignerSettingsError("the PIN is not typed here: change it where keys.uri has it from")
        if self._pool is not None:
            self._pool.typed = typed if typed is not None else self._pool.typed
            self._pool.circuit.reset()

    def removal_command(self, label: str) -> str:
        """Return the command by which an operator deletes a key (`removal`)."""
        return removal_command(self._settings, label)

    @property
    def token_name(self) -> str:
        """The label of the token, `software` where there is none."""
        return self._settings.token_name

    @property
    def queue_depth(self) -> int:
        """Requests that wait or are being served."""
        return self._pool.depth if self._pool is not None else 0

    @property
    def restarts(self) -> int:
        """How often a worker was replaced, or tried to be."""
        return self.statistics.restarts

    @property
    def signatures(self) -> int:
        """Signatures received so far."""
        return self.statistics.signatures

    @property
    def workers(self) -> int:
        """How many workers there are to be."""
        return self._workers

    @property
    def serving(self) -> int:
        """How many workers have their key store open."""
        return self._pool.serving if self._pool is not None else 0

    @property
    def healthy(self) -> bool:
        """Whether a worker with an open key store is there to serve."""
        return self.serving > 0

    @property
    def circuit(self) -> CircuitState:
        """Whether log-ins succeed, are tried again, or wait for an operator."""
        return self._pool.circuit.state if self._pool is not None else CircuitState.CLOSED

    @property
    def failure(self) -> str | None:
        """Why the last log-in failed, None where it succeeded."""
        reason = self._pool.circuit.reason if self._pool is not None else None
        return None if reason is None else str(reason)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that serve."""
        return self._pool.pids if self._pool is not None else []

    async def generate(self, label: str, spec: KeySpec) -> bytes:
        """Make a key and return its DER SubjectPublicKeyInfo; `KeyExistsError` where the label is taken."""
        check_label(label)
        (spki,) = await self._ask(Operation.GENERATE, label, (str(spec).encode(),), self._generate_deadline_s)
        return spki

    async def public_key(self, label: str) -> bytes:
        """Return the DER SubjectPublicKeyInfo of a key."""
        check_label(label)
        (spki,) = await self._ask(Operation.PUBLIC_KEY, label)
        return spki

    async def labels(self) -> list[str]:
        """Return the labels of all keys, sorted."""
        return [label.decode() for label in await self._ask(Operation.LABELS, "")]

    def expect(self, label: str, public_key: PublicKeyTypes) -> None:
        """Have signatures by `label` refused from now on where they are another key's.

        A worker verifies by the public key that its key store has. Where another token, or copy of the
        folder, took the place of the known one, that is another, and the certificate's is not.
        """
        self._expected[label] = public_key

    async def sign(self, label: str, data: bytes) -> bytes:
        """Return the signature over `data` by the key's algorithm (`algorithms.signature_algorithm_for`).

        `TokenSignatureError` for one of another key than `expect` was told of.
        """
        check_label(label)
        _check_size(data)
        (signature,) = await self._ask(Operation.SIGN, label, (data,))
        self._check_expected(label, signature, data)
        return signature

    async def sign_digest(self, label: str, hashed: bytes) -> bytes:
        """Return the signature over what hashes to `hashed`, where that is too much to be sent to a worker.

        The hash is that of the key's algorithm; `UnsupportedKeyError` for one that hashes by itself. Raises
        otherwise as `sign` does.
        """
        check_label(label)
        (signature,) = await self._ask(Operation.SIGN_DIGEST, label, (hashed,))
        self._check_expected(label, signature, hashed, verify_digest)
        return signature

    async def sign_many(self, label: str, data: Sequence[bytes]) -> list[bytes]:
        """Return one signature for each of `data`, in order; all or an error. Raises as `sign` does.

        They go to the workers in frames of at most `MAX_BATCH`, each with a deadline of its own, and as many
        of them at a time as there are workers.
        """
        check_label(label)
        for one in data:
            _check_size(one)
        signatures: list[bytes] = [b""] * len(data)
        begin = 0

        async def pull() -> None:
            nonlocal begin
            while begin < len(data):
                first, begin = begin, _frame_end(data, begin, self._frame_length(label))
                parts = tuple(data[first:begin])
                made = await self._ask(Operation.SIGN, label, parts)
                self._check_expected(label, made[0], parts[0])  # a frame is signed by one key
                signatures[first : first + len(parts)] = made

        await _all_of([pull() for _ in range(min(self._workers, len(data)))])
        return signatures

    def _check_expected(self, label: str, signature: bytes, data: bytes, verify_: Verify = verify) -> None:
        expected = self._expected.get(label)
        if expected is None:
            return
        try:
            verify_(expected, signature, data)
        except BadSignatureError as error:
            raise TokenSignatureError(
                f"the key store has another key as {label} than is certified"
            ) from error

    def _frame_length(self, label: str) -> int:
        signature_s = self.statistics.signature_s(label)
        if signature_s is None:
            return FIRST_FRAME
        return max(1, min(MAX_BATCH, round(FRAME_AIM_S / max(signature_s, 1e-6))))

    async def _ask(
        self,
        operation: Operation,
        label: str,
        parts: tuple[bytes, ...] = (),
        deadline_s: float | None = None,
    ) -> tuple[bytes, ...]:
        if self._pool is None:
            raise SignerUnavailableError(self._closed_because)
        return await self._pool.ask(operation, label, parts, deadline_s or self._deadline_s)


async def _all_of(pulls: list[Coroutine[None, None, None]]) -> None:
    """Return when all are done; after the first error the others are cancelled."""
    if len(pulls) == 1:
        await pulls[0]
        return
    tasks = [asyncio.create_task(pull) for pull in pulls]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _check_size(data: bytes) -> None:
    if len(data) > MAX_DATA_BYTES:
        raise RequestTooLargeError(f"more than {MAX_DATA_BYTES} octets cannot be signed at once")


def _frame_end(data: Sequence[bytes], begin: int, length: int) -> int:
    """Return where the frame that begins there ends: at most `length` parts, and bounded octets."""
    size = 0
    for end in range(begin, min(len(data), begin + length)):
        size += len(data[end])
        if end > begin and size > MAX_BATCH_BYTES:
            return end
    return min(len(data), begin + length)
