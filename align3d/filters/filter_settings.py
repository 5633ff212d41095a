"""Filters as a command line names them: ``filters=NAME,NAME filters.NAME.SETTING=VALUE``."""

from __future__ import annotations

from collections.abc import Sequence

from align3d.console.arguments import values_by
from align3d.console.declarations import declared, summary
from align3d.console.help_page import Section, settings_of
from align3d.errors import DataError, did_you_mean
from align3d.filters import FILTERS, Filter, filter_class, make_filter

SETTING = "filters"
_EXAMPLE = "filters=length,language"


def filters_of(arguments: Sequence[str], default: Sequence[str] = ()) -> tuple[list[Filter], list[str]]:
    """Filters that a command line asks for, in its order, and the arguments that are about something else.

    Args:
        arguments: Words of a command line.
        default: Names of the filters where ``filters=`` is not given.

    Raises:
        UserError: No such filter, no such setting, a wrong value, or a filter that is named twice.
    """
    own = [one for one in arguments if one.partition("=")[0].partition(".")[0] == SETTING]
    others = [one for one in arguments if one not in own]
    lists = [one for one in own if one.partition("=")[0] == SETTING]
    if len(lists) > 1:
        raise DataError(f"{SETTING} is given twice; one list names all of them, as in {_EXAMPLE}")
    names = [name.strip() for name in _names(lists)] if lists else list(default)
    classes = [filter_class(name) for name in names]
    known = [cls.name for cls in classes]
    if twice := [name for name in known if known.count(name) > 1]:
        raise DataError(f"{SETTING}={','.join(names)}: {twice[0]} stands there twice")
    given: dict[str, list[str]] = {name: [] for name in known}
    for one in own:
        if one in lists:
            continue
        key, equals, _ = one.partition("=")
        _, name, setting = [*key.split(".", 2), "", ""][:3]
        if not (equals and name and setting):
            raise DataError(f"{one!r}: expected {SETTING}.NAME.SETTING=VALUE")
        if name not in given:
            close = did_you_mean(name, known)
            raise DataError(f"{key}: {name} is not among {SETTING}={','.join(names)}{close}")
        given[name].append(one)
    made = []
    for name, cls in zip(names, classes, strict=True):
        prefix = f"{SETTING}.{cls.name}."
        hints = {prefix + key: setting.kind for key, setting in declared(cls).items()}
        values = values_by(hints, given[cls.name], _EXAMPLE)
        made.append(make_filter(name, **{key.removeprefix(prefix): value for key, value in values.items()}))
    return made, others


def _names(lists: Sequence[str]) -> list[str]:
    text = lists[0].partition("=")[2].strip("[] ")
    return text.split(",") if text else []


def help_sections() -> list[Section]:
    """Every registered filter's settings, for help pages."""
    return [
        Section(f"filters={name}: {summary(cls)}", settings_of(cls, f"{SETTING}.{name}."))
        for name, cls in sorted(FILTERS.items())
    ]
