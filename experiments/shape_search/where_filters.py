"""Filters of answers by what is stored of them: ``where='category=Connector_PinHeader*'``.

A condition names a column and patterns as file names have them (``*``, ``?``, ``[abc]``), letters of either
case; commas stand between patterns of which one must fit, and between conditions, which must all hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate

from align3d.errors import UserError, did_you_mean

CAPTION, CATEGORY, ID = "caption", "category", "id"
"""Columns of a library's index."""
_NAME = re.compile(r"\s*(\w+)\s*=")


def parse_where(where: str, columns: Sequence[str]) -> dict[str, list[str]]:
    """Patterns by column.

    Args:
        where: Such as ``category=Connector_*,Package_SO,caption=*angle*``.
        columns: Those that there are.

    Raises:
        UserError: A column that there is not, or no pattern.
    """
    found: dict[str, list[str]] = {}
    name = ""
    for part in where.split(","):
        match = _NAME.match(part)
        if match is not None:
            name, part = match[1], part[match.end() :]
            if name not in columns:
                raise UserError(
                    f"where={where}: no column {name!r}{did_you_mean(name, columns)} "
                    f"(columns: {', '.join(columns)})"
                )
        if not name or not part.strip():
            raise UserError(f"where={where}: expected COLUMN=PATTERN, such as category=Connector_*")
        found.setdefault(name, []).append(part.strip())
    return found


def matching(where: str, columns: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Stored values that fit a filter by column, as `retrieval.ErsIndex.search` takes them.

    Args:
        where: See `parse_where`.
        columns: Stored values by column, one of each shape.

    Raises:
        UserError: See `parse_where`; or a pattern that no value fits.
    """
    found = {}
    for name, patterns in parse_where(where, list(columns)).items():
        known = sorted(set(columns[name]))
        values: set[str] = set()
        for pattern in patterns:
            fits = re.compile(translate(pattern), re.IGNORECASE)
            own = [value for value in known if fits.match(value)]
            if not own:
                examples = ", ".join(value[:40] for value in known[:3])
                raise UserError(
                    f"where={where}: no {name} fits {pattern!r}{did_you_mean(pattern, known)} "
                    f"({len(known):,} there, such as {examples})"
                )
            values |= set(own)
        found[name] = sorted(values)
    return found


def rows_matching(values: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]]) -> list[int]:
    """Rows of the shapes that have one of the values in each of the columns named."""
    wanted = {name: set(own) for name, own in values.items()}
    count = len(next(iter(columns.values())))
    return [row for row in range(count) if all(columns[name][row] in own for name, own in wanted.items())]
