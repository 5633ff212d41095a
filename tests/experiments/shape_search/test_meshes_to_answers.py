"""The whole way of an engineer: a folder of meshes and captions, a dataset, a training, a search."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from align3d.dataset import ShapeDataset
from experiments import search as command
from experiments.search import Searcher
from tests.experiments.shape_search.searched_run import COLORED, FORMATS, Searched, shapes


def test_from_sixty_meshes_to_the_right_answer(searched: Searched, tmp_path: Path, capsys) -> None:
    dataset = ShapeDataset.load(searched.dataset)
    assert len(dataset) == 60
    assert {Path(name).suffix[1:] for name in dataset.ids} == {*FORMATS}
    sheet = tmp_path / "sheet.png"
    assert command.main(["a red ring", f"run={searched.run}", "k=3", "json=true", f"sheet={sheet}"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answers"][0]["file"] == str(searched.meshes / "ring_red.glb")
    assert Image.open(sheet).width == 3 * 220

    searcher = Searcher(searched.run)
    first = {kind: searcher.search(f"a gray {kind}", k=1)[0].category for kind in shapes()}
    assert sum(found == kind for kind, found in first.items()) >= len(first) - 1, first
    wanted = {
        f"a {word} {kind}": f"{kind.replace(' ', '_')}_{word}.{suffix}"
        for suffix, (word, _) in COLORED.items()
        for kind in shapes()
    }
    right = sum(searcher.search(query, k=1)[0].id == name for query, name in wanted.items())
    assert right >= 0.75 * len(wanted)  # those that were not trained on among them
