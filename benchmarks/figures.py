"""One measured figure, what it is compared with, and the table of them."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value; `ratio` compares it with `beside` in the same run, `aim` says what is wanted."""

    name: str
    value: str
    beside: str = ""
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None


def at_most(name: str, value: float, unit: str, beside_name: str, beside: float, bound: float) -> Figure:
    """Return a figure that should be at most `bound` times what it stands beside."""
    ratio = value / beside
    return Figure(
        name,
        f"{value:.1f} {unit}",
        f"{beside_name}: {beside:.1f} {unit}",
        ratio,
        f"<= {bound:g}",
        ratio <= bound,
    )


def show(figures: list[Figure]) -> None:
    """Print the table."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("figure", "measured", "beside it, same run", "ratio", "aim", ""):
        table.add_column(column, overflow="fold")
    for figure in figures:
        ratio = (
            ""
            if figure.ratio is None
            else f"{figure.ratio:.2g}"
            if figure.ratio < 0.1
            else f"{figure.ratio:.2f}"
        )
        verdict = {True: "met", False: "NOT MET", None: ""}[figure.met]
        table.add_row(figure.name, figure.value, figure.beside, ratio, figure.aim, verdict)
    Console(width=150).print(table)
