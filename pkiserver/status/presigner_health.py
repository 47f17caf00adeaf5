"""How long the presigned responses are good for, for readiness and metrics: by what the table holds."""

from datetime import UTC, datetime

from pkiserver.clock import Clock
from pkiserver.health import Cause
from pkiserver.status.presigner import Presigner
from store.responses import SampledTimes


class PresignerHealth:
    """Looks at the table only when what it saw before does not tell any more: a look takes milliseconds."""

    def __init__(self, presigner: Presigner, clock: Clock) -> None:
        self._presigner = presigner
        self._clock = clock
        self._looked_s = 0.0  # Unix time
        self._first_end_s = 0.0  # until then none of the responses has run out
        self._last_end_s = 0.0  # and until then not all of them

    def oldest_response_age_s(self) -> float:
        """Return the age of the oldest response, 0 where there is none.

        One that a clock ahead signed counts as one that has run out: nobody can use it.
        """
        times = self._presigner.times()
        if times is None:
            return 0.0
        ahead = self._presigner.from_the_future(times)
        validity = times.oldest_next_update - times.oldest_this_update
        return max(self._clock.now().timestamp() - times.oldest_this_update, validity if ahead else 0.0)

    def oldest_next_update_s(self) -> float | None:
        """Return when the first response ends, as Unix time; None where there is no response."""
        times = self._look()
        return None if times is None else self._first_end_s

    def has_answers(self) -> bool:
        """Tell whether there is a fresh response, which is when load balancers may send requests here.

        As on a machine that only serves status; also where there is no certificate to tell of.
        """
        now_s = self._clock.now().timestamp()
        if self._looked_s <= now_s < self._last_end_s:
            return True
        return not self._presigner.astray if self._look() is None else self._last_end_s > now_s

    def cause(self) -> Cause:
        """Not ok while the presigner fails, the table is made anew, or some responses have run out."""
        presigner, now_s = self._presigner, self._clock.now().timestamp()
        if presigner.failure is not None:
            return _not_ok(f"{presigner.failure}; {self._validity(self._look(), now_s)}")
        if presigner.astray:
            left = presigner.round.left
            return _not_ok(f"the response table is made anew, {left} responses are to be signed")
        if self._looked_s <= now_s < self._first_end_s or self._look() is None or self._first_end_s > now_s:
            return Cause("presigner", ok=True)
        return _not_ok(
            f"responses ran out from {_text(self._first_end_s)} on and are answered with tryLater until they"
            f" are signed anew, {presigner.round.left} are to be signed"
        )

    def _validity(self, times: SampledTimes | None, now_s: float) -> str:
        if times is None:
            return "there are no responses"
        if self._last_end_s <= now_s:
            return f"the last response ran out at {_text(self._last_end_s)}"
        first, last = _text(self._first_end_s), _text(self._last_end_s)
        how = "ran out" if self._first_end_s <= now_s else "to run out"
        return f"responses are valid until {last}, the first {how} at {first}"

    def _look(self) -> SampledTimes | None:
        times = self._presigner.times()
        self._looked_s = self._clock.now().timestamp()
        if times is None:
            self._first_end_s = self._last_end_s = 0.0
        else:
            self._first_end_s = float(times.oldest_next_update)
            if self._presigner.from_the_future(times):
                self._first_end_s = min(self._first_end_s, self._looked_s)
            self._last_end_s = float(times.newest_next_update)
        return times


def _not_ok(detail: str) -> Cause:
    return Cause("presigner", ok=False, detail=detail)


def _text(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
