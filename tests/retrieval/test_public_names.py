from pathlib import Path

import retrieval

PAGE = Path(__file__).parents[2] / "docs" / "retrieval.md"


def test_every_public_name_exists_and_is_documented() -> None:
    page = PAGE.read_text()
    for name in retrieval.__all__:
        assert getattr(retrieval, name).__doc__ or name == "ENGINES"
        assert f"`{name}`" in page, name
