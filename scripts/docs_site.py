"""Hook of MkDocs: the pages of the site that are no files of docs/, and links that lead out of it.

README.md is the first page; CHANGELOG.md and SECURITY.md are pages too; a link to a file of code leads to
a copy of it; each package has a page made from its docstrings.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "index.md", "CHANGELOG.md": "CHANGELOG.md", "SECURITY.md": "SECURITY.md"}
REFERENCE = {
    "align3d": ("align3d",),
    "models": ("models",),
    "envs": ("envs",),
    "agents": ("agents",),
    "retrieval": ("retrieval",),
    "experiments": (
        "experiments.shape_search.searcher",
        "experiments.shape_search.answers",
        "experiments.tasks.zero_shot",
        "experiments.tasks.few_shot",
        "experiments.tasks.cross_modal",
        "experiments.tasks.open_set",
        "experiments.tasks.robustness",
    ),
    "durable": (
        "durable.whole_files",
        "durable.checksums",
        "durable.file_lock",
        "durable.disk_space",
        "durable.errors",
    ),
}
"""Modules on the page of each package; those with ``__all__`` show what that names."""
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")


def on_config(config: Any) -> Any:
    """Fill in the parts of the navigation that are lists of files."""
    results = [f"results/{path.name}" for path in sorted((ROOT / "docs" / "results").glob("*.md"))]
    for entry in config.nav:
        if isinstance(entry, dict) and "Results" in entry:
            entry["Results"] = ["results.md", *results]
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"] = [{name: f"reference/{name}.md"} for name in REFERENCE]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, and copies of the files of code that pages link to."""
    for source, page in PAGES.items():
        text = _relinked((ROOT / source).read_text(), ROOT, Path(page))
        files.append(File.generated(config, page, content=text))
    for name, modules in REFERENCE.items():
        text = "\n\n".join([f"# {name}", *(f"::: {module}" for module in modules)])
        files.append(File.generated(config, f"reference/{name}.md", content=text + "\n"))
    pages = [ROOT / name for name in PAGES] + sorted((ROOT / "docs").rglob("*.md"))
    for target in sorted({path for page in pages for path in _outside(page)}):
        files.append(File.generated(config, f"code/{target.relative_to(ROOT)}", abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links of a page of docs/ that leave the folder to where the site has their targets."""
    source = Path(page.file.src_uri)
    generated = page.file.src_uri in PAGES.values() or source.parts[0] == "reference"
    return markdown if generated else _relinked(markdown, ROOT / "docs" / source.parent, source)


def _relinked(text: str, folder: Path, page: Path) -> str:
    """Links of a text that stands in a folder, as its page in the site needs them."""

    def place(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            return match[0]
        name = target.relative_to(ROOT).as_posix()
        inside = name.removeprefix("docs/")
        if inside == name:
            inside = PAGES.get(name, f"code/{name}")
        return f"{match[1]}{'../' * (len(page.parts) - 1)}{inside}"

    return LINK.sub(place, text)


def _outside(page: Path) -> list[Path]:
    """Files of code that a page links to."""
    found = [(page.parent / match[2]).resolve() for match in LINK.finditer(page.read_text())]
    return [
        path
        for path in found
        if path.is_file()
        and not path.is_relative_to(ROOT / "docs")
        and path.is_relative_to(ROOT)
        and path.name not in PAGES
    ]
