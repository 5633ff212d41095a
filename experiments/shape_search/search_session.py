"""Interactive search: a prompt with history, and feedback that changes the last query.

``more like 3`` moves the query towards that shape for as long as it stands, and has ERS learn that the shape
was meant by it: that alone is kept, in the library's index. ``not 2`` leaves the shape out and moves the
query away; as ERS counts right answers alone, nothing of it is kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from align3d.console.terminal import say, say_error
from align3d.errors import UserError
from experiments.shape_search.answers import Answers

PROMPT = "search> "
HELP = """\
WORDS             search for them
more like 3       shapes like answer 3 of the last search; ERS learns that it was meant (several: 3 5)
not 2             the last search without answer 2 and away from it, for as long as this search stands
shape FILE        search by a mesh or a cloud
k 5               so many answers from now on
where CONDITION   filter from now on, such as category=Connector_*; "where" alone lifts it
help, quit"""
HISTORY_LENGTH = 1000
_MORE = re.compile(r"more\s+like\b(.*)", re.IGNORECASE)
_NOT = re.compile(r"not((?:\s|,|and|\d)+)", re.IGNORECASE)
_FILE = re.compile(r".*\.[A-Za-z]\w*")
_NUMBERS = re.compile(r"\d+")


class Searches(Protocol):
    """What answers: `experiments.shape_search.searcher.Searcher`, or what is like it."""

    def __len__(self) -> int:
        """Number of shapes."""
        ...

    def search(
        self, query: str, k: int, where: str | None, *, like: Sequence[int], unlike: Sequence[int]
    ) -> Answers:
        """Answers to words."""
        ...

    def teach(self, query: str, row: int) -> str:
        """Learns that a shape was meant; one line on what is kept of it."""
        ...


@dataclass
class Session:
    """An interactive search.

    Args:
        searcher: Answers.
        show: Shows answers.
        k: Answers at first.
        where: Filter at first.

    Attributes:
        query: The last words.
        last: Their answers.
        like: Rows of shapes that are meant.
        unlike: Rows of shapes that are not.
    """

    searcher: Searches
    show: Callable[[Answers], None]
    k: int = 10
    where: str | None = None
    query: str = ""
    last: Answers | None = None
    like: list[int] = field(default_factory=list)
    unlike: list[int] = field(default_factory=list)

    def run(self, lines: Iterator[str]) -> None:
        """Answers line after line, until one says quit or none is left."""
        for line in lines:
            text = " ".join(line.split())
            if text.lower() in ("quit", "exit", "q"):
                return
            if not text:
                continue
            try:
                self.answer(text)
            except UserError as error:
                say_error(error)

    def answer(self, text: str) -> None:
        """Does what one line says.

        Raises:
            UserError: It cannot be done.
        """
        command, _, rest = text.partition(" ")
        if text.lower() in ("help", "?"):
            print(HELP)
        elif match := _MORE.fullmatch(text):
            self._more_like(self._rows(match[1]))
        elif match := _NOT.fullmatch(text):
            self._not(self._rows(match[1]))
        elif command == "k" and rest.isdecimal():
            self._set_k(int(rest))
        elif command == "where" and (not rest or "=" in rest):
            self.where = rest or None
            self._again()
        elif command == "shape" and hasattr(self.searcher, "search_shape") and _FILE.fullmatch(rest):
            self.query, self.last = "", self.searcher.search_shape(rest, self.k, self.where)
            self.show(self.last)
        else:
            self.like, self.unlike = [], []
            self._search(text)

    def _search(self, query: str) -> None:
        found = self.searcher.search(query, self.k, self.where, like=self.like, unlike=self.unlike)
        self.query, self.last = query, found
        self.show(found)

    def _again(self) -> None:
        """The last words once more, if there are any."""
        if self.query:
            self._search(self.query)

    def _set_k(self, k: int) -> None:
        if not 1 <= k <= len(self.searcher):
            raise UserError(f"k {k}: expected 1 to {len(self.searcher):,}, the shapes that there are")
        self.k = k
        self._again()

    def _more_like(self, rows: list[int]) -> None:
        self.unlike = [row for row in self.unlike if row not in rows]
        self.like += [row for row in rows if row not in self.like]
        kept = [self.searcher.teach(self.query, row) for row in rows]
        self._search(self.query)
        say(kept[-1])

    def _not(self, rows: list[int]) -> None:
        self.like = [row for row in self.like if row not in rows]
        self.unlike += [row for row in rows if row not in self.unlike]
        self._search(self.query)

    def _rows(self, text: str) -> list[int]:
        """Rows of the answers whose ranks a text names.

        Raises:
            UserError: There are no answers to words, it names none, or one that there is not.
        """
        if self.last is None or not self.query:
            raise UserError("no answers to words yet: search for some first")
        ranks = [int(number) for number in _NUMBERS.findall(text)]
        if not ranks:
            raise UserError('expected the number of an answer, as in "more like 3" or "not 2"')
        for rank in ranks:
            if not 1 <= rank <= len(self.last):
                raise UserError(f"{rank}: expected 1 to {len(self.last)}, an answer of the last search")
        return [self.last[rank - 1].row for rank in ranks]


@contextmanager
def prompt(history: Path | None) -> Iterator[Iterator[str]]:
    """Lines that are typed, with a history where there is a terminal; plain lines elsewhere.

    Args:
        history: File that keeps what was typed; None keeps nothing.
    """
    if not sys.stdin.isatty():
        yield (line.rstrip("\n") for line in sys.stdin)
        return
    try:
        import readline
    except ImportError:  # Windows: input() edits lines, but remembers none
        yield _typed()
        return
    if history is not None and history.is_file():
        try:
            readline.read_history_file(history)
        except OSError:
            say(f"{history}: the history cannot be read", error=True)
    try:
        yield _typed()
    finally:
        if history is not None:
            readline.set_history_length(HISTORY_LENGTH)
            try:
                readline.write_history_file(history)
            except OSError:
                say(f"{history}: the history cannot be written", error=True)


def _typed() -> Iterator[str]:
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            print()
            return
