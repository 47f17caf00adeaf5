"""A bar that shows how far long work is; apart, since most commands are over before rich would be read."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from pkiserver.logs import escaped
from pkiserver.progress import Progress


class _OfKnownTotal(ProgressColumn):
    """A column that stays empty while nobody knows how much work there is."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return self._column(task) if task.total is not None else Text("")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a function that moves a bar on standard error."""
    known = (_OfKnownTotal(BarColumn()), _OfKnownTotal(MofNCompleteColumn()))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *known)
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def tell(text: str, done: int = 0, total: int = 0) -> None:
            bars.update(task, description=escaped(text), completed=done, total=total or None)

        yield tell
