"""Settings of ``python -m experiments.serve``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from align3d.console.help_page import Section, page, settings_of
from align3d.errors import UserError
from experiments.console.local_server import LOOPBACK, check_token
from experiments.settings.named_again import NAMED, Named, named_section, values_and_named

EXAMPLE = "index=my_shards"
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class ServeOptions:
    """Settings of the command; ``index`` or ``run`` is to be given.

    Attributes:
        index: Folder of a saved index: of shards, which take changes, or of any other kind, which do not.
        run: Folder of a finished run, whose shapes are searched by words and by vectors.
        replicas: Replicas of every shard.
        place: Where shards live, see docs/sharding.md.
        changes: Whether an index of shards takes changes; else another process may have it open for them.
        host: Address of this machine that is served on; 0.0.0.0 is all of its addresses.
        port: Port; 0 takes one that is free.
        token: Secret that requests must name (Authorization: Bearer TOKEN); null: none on this machine
            alone, and one that is made and printed where others reach the host.
        most_k: Answers to a query, at most.
        most_bytes: Bytes of a request's body, at most.
        most_waiting: Requests that may wait; further ones are sent away (503) for a second.
        batch: Queries that are searched together, at most.
        verify: Compare all files of the index with their checksums first.
        imports: Modules to import first: they register sources and agents of your own.
        named: What the run names and the command line names again, by dotted names.
    """

    index: Path | None = None
    run: Path | None = None
    replicas: Positive = 1
    place: Literal["thread", "process", "ray"] = "thread"
    changes: bool = True
    host: str = LOOPBACK
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    token: str | None = None
    most_k: Positive = 1000
    most_bytes: Positive = 4_194_304
    most_waiting: Positive = 256
    batch: Positive = 64
    verify: bool = True
    imports: tuple[str, ...] = ()
    named: Named = field(default_factory=dict)


def parse(arguments: Sequence[str]) -> ServeOptions:
    """The settings of a command line.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, settings that do not fit, or a
            token that is too short for others to be kept out.
    """
    options = ServeOptions(**values_and_named(ServeOptions, arguments, EXAMPLE, reads_memory=True))
    if (options.index is None) == (options.run is None):
        raise UserError("give one of index=FOLDER (a saved index) and run=FOLDER (a finished run)")
    token = options.token
    if token is not None:
        if not (token.isascii() and token.isprintable() and " " not in token and token):
            raise UserError("token=…: expected letters, digits and signs of ASCII without blanks")
        check_token(token, options.host)
    return options


def usage() -> str:
    """Help page of the command."""
    return page(
        "Serves an index over HTTP: search, changes, health and metrics; see docs/serving.md.",
        [f"python -m experiments.serve {form}=FOLDER [key=value ...]" for form in ("index", "run")],
        f"python -m experiments.serve {EXAMPLE} port=8000",
        [Section("settings", settings_of(ServeOptions, but=[NAMED])), named_section(reads_memory=True)],
    )
