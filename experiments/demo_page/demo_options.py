"""Settings of ``python -m experiments.demo``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from align3d.console.help_page import Section, page, settings_of
from align3d.errors import UserError
from experiments.console.local_server import LOOPBACK, check_token
from experiments.settings.named_again import NAMED, Named, named_section, values_and_named

EXAMPLE = "run=outputs/mine"
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class DemoOptions:
    """Settings of the command.

    Attributes:
        run: Folder of a finished run, whose shapes are shown.
        dataset: Folder of a dataset that align3d.build wrote, shown under the run's model instead.
        index: Folder of an index whose tree is shown; null: that of the run's library.
        runs: Folders of finished runs beside which this one is shown; empty: those in the same folder.
        host: Address or name of this machine that the page is served on; 0.0.0.0 is all of its addresses.
        port: Port; 0 takes one that is free.
        token: Secret in the page's address; null makes one. Off this machine, at least 16 letters and digits.
        calibration: Calibration of HAF: the run's own (auto), its agent's, one for all queries, or none.
        candidates: Shapes that HAF re-ranks; null: as many as in the run's evaluation.
        threads: Requests that are computed at once; null: as many as there are cores.
        device: Device where a library is made.
        imports: Modules to import first: they register sources and agents of your own.
        named: What the run names and the command line names again, by dotted names.
    """

    run: Path | None = None
    dataset: Path | None = None
    index: Path | None = None
    runs: tuple[Path, ...] = ()
    host: str = LOOPBACK
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    token: str | None = None
    calibration: Literal["auto", "agent", "fixed", "none"] = "auto"
    candidates: Annotated[int, Field(ge=1)] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    device: str = "cpu"
    imports: tuple[str, ...] = ()
    named: Named = field(default_factory=dict)


def parse(arguments: Sequence[str]) -> DemoOptions:
    """The settings of a command line.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, no run, or a token that is too
            short for others to be kept out or does not fit into an address.
    """
    options = DemoOptions(**values_and_named(DemoOptions, arguments, EXAMPLE, reads_memory=True))
    if options.run is None:
        raise UserError("run=FOLDER is missing: the folder of a finished run")
    token = options.token
    if token is not None:
        if not _TOKEN.fullmatch(token):
            raise UserError("token=…: expected letters, digits, '-' and '_', as it stands in an address")
        check_token(token, options.host)
    return options


def usage() -> str:
    """Help page of the command."""
    return page(
        "Shows a run in the browser: search by words or by a shape, and where each word looks.",
        ["python -m experiments.demo run=FOLDER [key=value ...]"],
        f"python -m experiments.demo {EXAMPLE}",
        [Section("settings", settings_of(DemoOptions, but=[NAMED])), named_section(reads_memory=True)],
    )
