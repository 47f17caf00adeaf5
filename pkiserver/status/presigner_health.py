"""How long the presigned responses are good for, for readiness and metrics: by what the table holds."""

from datetime import UTC, datetime

from pkiserver.clock import Clock, utc_text
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
        now_s = self._clock.now().timestamp()
        return max((_age_s(times, now_s, ahead) for times, ahead in self._presigner.times()), default=0.0)

    def oldest_next_update_s(self) -> float | None:
        """Return when the first response ends, as Unix time; None where there is no response."""
        return self._first_end_s if self._look() else None

    def has_answers(self) -> bool:
        """Tell whether there is a fresh response, which is when load balancers may send requests here.

        As on a machine that only serves status; also where there is no certificate to tell of.
        """
        now_s = self._clock.now().timestamp()
        if self._looked_s <= now_s < self._last_end_s:
            return True
        return self._last_end_s > now_s if self._look() else not self._presigner.astray

    def cause(self) -> Cause:
        """Not ok while the presigner fails, the table is made anew, or some responses have run out."""
        presigner, now_s = self._presigner, self._clock.now().timestamp()
        if presigner.failure is not None:
            return _not_ok(f"{presigner.failure}; {self._validity(now_s)}")
        if presigner.astray:
            left = presigner.round.left
            return _not_ok(f"the response table is made anew, {left} responses are to be signed")
        known = self._looked_s <= now_s < self._first_end_s
        if known or not self._look() or self._first_end_s > now_s:
            return Cause("presigner", ok=True)
        return _not_ok(
            f"responses ran out from {_text(self._first_end_s)} on and are answered with tryLater until they"
            f" are signed anew, {presigner.round.left} are to be signed"
        )

    def _validity(self, now_s: float) -> str:
        if not self._look():
            return "there are no responses"
        if self._last_end_s <= now_s:
            return f"the last response ran out at {_text(self._last_end_s)}"
        first, last = _text(self._first_end_s), _text(self._last_end_s)
        how = "ran out" if self._first_end_s <= now_s else "to run out"
        return f"responses are valid until {last}, the first {how} at {first}"

    def _look(self) -> bool:
        """Look at the table; False where it holds no response."""
        found = list(self._presigner.times())
        self._looked_s = self._clock.now().timestamp()
        ends = (self._looked_s if ahead else float(times.oldest_next_update) for times, ahead in found)
        self._first_end_s = min(ends, default=0.0)
        self._last_end_s = float(max((times.newest_next_update for times, _ in found), default=0))
        return bool(found)


def _age_s(times: SampledTimes, now_s: float, ahead: bool) -> float:
    validity = times.oldest_next_update - times.oldest_this_update
    return max(now_s - times.oldest_this_update, validity if ahead else 0.0)


def _not_ok(detail: str) -> Cause:
    return Cause("presigner", ok=False, detail=detail)


def _text(unix_s: float) -> str:
    return utc_text(datetime.fromtimestamp(unix_s, UTC))
