"""What the tabs of the page share: the run, its searcher, visitors, and the queue of what is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

from experiments.demo_page.visitors import HEADER, Visitor, Visitors
from experiments.demo_page.work_queue import WorkQueue

if TYPE_CHECKING:
    from experiments.shape_search.searcher import Searcher


@dataclass(frozen=True)
class Demo:
    """A run that is shown.

    Attributes:
        run: Its folder.
        searcher: Its shapes and model; it may be used by several threads at once.
        work: Where everything that takes more than a moment is computed, as in
            ``await demo.work.run(function, argument)``.
        index: Folder of the index whose tree is shown; None for that of the searcher.
        runs: Folders of runs beside which this one is shown; none for those in the same folder.
        visitors: State of each open page.
        closing: Called when the server ends.
    """

    run: Path
    searcher: Searcher
    work: WorkQueue
    index: Path | None = None
    runs: Sequence[Path] = ()
    visitors: Visitors = field(default_factory=Visitors)
    closing: list[Callable[[], None]] = field(default_factory=list)

    def visitor(self, request: Request) -> Visitor:
        """State of the page that asks.

        Raises:
            UserError: The request does not say which that is.
        """
        return self.visitors.named(request.headers.get(HEADER))


@dataclass(frozen=True)
class Tab:
    """A tab of the page.

    Attributes:
        name: Of its script, ``page/NAME.js``, and of the addresses below which it is answered, ``api/NAME/``.
        title: On the page.
        routes: Makes what is answered below ``api/NAME``. An endpoint raises a `UserError` for what cannot be
            done, and the page shows its sentence.
    """

    name: str
    title: str
    routes: Callable[[Demo], Sequence[Route]]
