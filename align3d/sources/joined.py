"""Several sources as one: ids made unique, every shape turned until z is up, settings by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from align3d.building.stages import Recipe, turn_upright
from align3d.console.declarations import Setting, declared, type_words
from align3d.errors import DataError, did_you_mean
from align3d.hashing import hash_code, hash_json
from align3d.record import Record
from align3d.sources import Item, Source, source_class
from align3d.sources.drawn_surface import DrawnSurface


class JoinedSource:
    """Shapes of several sources, in the order in which they are named.

    A shape keeps its id where no other source has the same one; else the name of its source is put in front,
    ``folder/chair``. All shapes are turned until z is up: rotated, never mirrored.

    Args:
        sources: The sources, by the names that they go by.

    Raises:
        DataError: There is only one.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        if len(sources) < 2:
            raise DataError(f"data={','.join(sources)}: expected two sources or more to join")
        self.sources = dict(sources)
        self.name = ",".join(self.sources)
        self.can_crash = any(getattr(source, "can_crash", True) for source in self.sources.values())

    def fingerprint(self) -> str:
        """Hash of all sources, in their order."""
        parts = [[name, source.name, source.fingerprint()] for name, source in self.sources.items()]
        return hash_json(["joined", hash_code("align3d.sources.joined", "align3d.building.stages"), parts])

    def stored(self) -> dict[str, int]:
        """Points and seed that a build takes where it is given no others: the least of those stored."""
        found: dict[str, int] = {}
        for source in self.sources.values():
            for name, value in getattr(source, "stored", dict)().items():
                found[name] = min(value, found.get(name, value))
        return found

    def items(self) -> list[Item]:
        """The items of all sources; each holds that of its own source.

        Raises:
            DataError: A source has nothing to read; its message names it.
        """
        found = {name: source.items() for name, source in self.sources.items()}
        for name, items in found.items():
            if not items:
                raise DataError(
                    f"data={self.name}: {name} yields nothing; check its settings, or leave it out"
                )
        times = Counter(item.id for items in found.values() for item in items)
        taken = {item for item, count in times.items() if count == 1}
        return [
            Item(item.id if item.id in taken else f"{name}/{item.id}", (name, item))
            for name, items in found.items()
            for item in items
        ]

    def read(self, item: Item, points: int, seed: int) -> Record:
        """The record of its own source, turned until z is up."""
        name, own = item.payload
        record = turn_upright(self.sources[name].read(own, points, seed), Recipe(points, seed))
        return replace(record, id=item.id)

    def surface(self, item: Item) -> DrawnSurface | None:
        """The surface that its own source gives; None where that has none."""
        name, own = item.payload
        drawn = getattr(self.sources[name], "surface", None)
        return None if drawn is None else drawn(own)


def classes_of(names: str) -> dict[str, type[Source]]:
    """Classes of sources that are named with commas, by the name that each goes by.

    ``rooms=folder,parts=folder`` gives two sources of a kind names of their own; without, a source goes by
    its registered name, or by that of its class.

    Raises:
        DataError: There is no such source, or two go by the same name.
    """
    classes: dict[str, type[Source]] = {}
    for text in names.split(","):
        alias, equals, kind = text.strip().partition("=")
        kind = kind.strip() if equals else alias
        name = alias.strip() if equals else kind.rpartition(":")[2]
        if not kind or not name.isidentifier():
            raise DataError(f"data={names}: expected names of sources with commas between them")
        if name in classes:
            raise DataError(
                f"data={names}: {name} stands there twice; give each a name of its own, as in "
                f"first={kind},second={kind}"
            )
        classes[name] = source_class(kind)
    return classes


def settings_by_source(
    names: str, classes: Mapping[str, type[Source]], given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The settings of each source, from those with the name of a source in front and those without.

    A setting without goes to every source that has it.

    Args:
        names: The sources as they were named, for messages.
        classes: Their classes, by name.
        given: Values by setting (``size``, ``kicad.size``), or by source and setting.

    Raises:
        DataError: No source has such a setting, or it is open for which one it is meant.
    """
    known = {name: declared(cls) for name, cls in classes.items()}
    flat = {key: value for key, value in _flat(given).items() if value is not None}
    settings: dict[str, dict[str, Any]] = {name: {} for name in classes}
    for key, value in flat.items():
        name, dot, setting = key.rpartition(".")
        if dot:
            if name not in known:
                raise DataError(f"data={names}: {key}: no source {name!r}{did_you_mean(name, known)}")
            if setting not in known[name]:
                close = did_you_mean(setting, known[name])
                raise DataError(
                    f"data={names}: {key}: no such setting{close} (settings: {', '.join(known[name])})"
                )
            settings[name][setting] = value
            continue
        having = [source for source, own in known.items() if key in own]
        if not having:
            every = sorted({setting for own in known.values() for setting in own})
            raise DataError(
                f"data={names}: no source has a setting {key!r}{did_you_mean(key, every)} "
                f"(settings: {', '.join(every)})"
            )
        _refuse_ambiguous(names, key, {source: known[source][key] for source in having}, flat)
        for source in having:
            settings[source][key] = value
    return settings


def _refuse_ambiguous(names: str, key: str, having: Mapping[str, Setting], given: Mapping[str, Any]) -> None:
    """Refuse a setting without a source's name that may be meant for one alone."""
    prefixed = [f"{source}.{key}" for source in having if f"{source}.{key}" in given]
    if prefixed:
        raise DataError(f"data={names}: both {key} and {prefixed[0]} are given; name the source in each")
    kinds = {type_words(setting.kind) for setting in having.values()}
    if len(having) > 1 and (any("path" in kind for kind in kinds) or len(kinds) > 1):
        choices = " or ".join(f"{source}.{key}=" for source in having)
        raise DataError(f"data={names}: {key} may be meant for {' or '.join(having)}; write {choices}")


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with their source's name in front, where they are given by source."""
    flat: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def join(names: str, settings: Mapping[str, Any]) -> JoinedSource:
    """Make several sources of their names and settings, and join them.

    Raises:
        DataError: See `classes_of` and `settings_by_source`, and what a source says of its settings.
    """
    classes = classes_of(names)
    own = settings_by_source(names, classes, settings)
    return JoinedSource({name: cls(**own[name]) for name, cls in classes.items()})
