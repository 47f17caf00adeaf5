"""What Prometheus reads of the CRLs that are served, in every role."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Protocol

from pkiserver.metrics import Metrics, Reading, Sample


class ServedCRL(Protocol):
    """What is told of a CRL; None: it does not say."""

    @property
    def this_update(self) -> datetime: ...

    @property
    def next_update(self) -> datetime | None: ...

    @property
    def number(self) -> int | None: ...


def register_crls(metrics: Metrics, served: Callable[[], Iterable[tuple[str, ServedCRL]]]) -> None:
    """Have times and numbers of the CRLs shown; `served` gives them with their names at each scrape."""

    def this_update() -> Iterator[Sample]:
        for name, crl in served():
            yield Sample(crl.this_update.timestamp(), (name,))

    def next_update() -> Iterator[Sample]:
        for name, crl in served():
            if crl.next_update is not None:
                yield Sample(crl.next_update.timestamp(), (name,))

    def number() -> Iterator[Sample]:
        for name, crl in served():
            if crl.number is not None:
                yield Sample(crl.number, (name,))

    metrics.read(Reading.CRL_THIS_UPDATE, this_update)
    metrics.read(Reading.CRL_NEXT_UPDATE, next_update)
    metrics.read(Reading.CRL_NUMBER, number)
