"""Run the measurements: `python -m benchmarks [ocsp …]`; `make bench` runs all."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from benchmarks import (
    applications,
    bulk,
    cmp,
    crl,
    crl_serving,
    est,
    latency,
    mail,
    ocsp,
    presigning,
    search,
    signer,
)
from benchmarks.figures import Figure, show

BENCHES: Final[dict[str, Callable[[Path, int, int], list[Figure]]]] = {
    "ocsp": ocsp.run,
    "presigning": presigning.run,
    "latency": latency.run,
    "crl": crl.run,
    "crl-serving": crl_serving.run,
    "est": est.run,
    "cmp": cmp.run,
    "search": search.run,
    "applications": applications.run,
    "bulk": bulk.run,
    "mail": mail.run,
    "signer": signer.run,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
@click.option("--certificates", default=1_000_000, show_default=True, help="Size of the tables.")
@click.option("--seconds", default=5, show_default=True, help="Length of one round of load.")
def main(names: tuple[str, ...], certificates: int, seconds: int) -> None:
    """Measure, and print a table of figures with their ratios."""
    for name in names or BENCHES:
        with tempfile.TemporaryDirectory(prefix="pkiserver-bench-") as folder:
            show(BENCHES[name](Path(folder), certificates, seconds))


if __name__ == "__main__":
    main()
