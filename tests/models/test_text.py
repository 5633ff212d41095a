"""Features of words and whole numbers."""

import unicodedata
from pathlib import Path

import pytest
import torch

from models.fourier import COUNTS, LOG_FEATURES, number_features
from models.text import TextEncoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(max_tokens=8)


def test_features_cover_every_word(encoder: TextEncoder) -> None:
    features = encoder.encode(["a round table", "", "a 1x13 pin header of 2.54 mm pitch"])
    assert features.mask.sum(-1).tolist() == [3, 0, 8]  # cut at max_tokens
    assert features.strings[2] == ["a", "1", "x", "13", "pin", "header", "of", "2.54"]
    assert (features.tokens.norm(dim=-1) > 0).equal(features.mask)
    values = features.quantities[2, :, 0]
    assert values[~values.isnan()].tolist() == pytest.approx([1, 13, 2.54])


def test_a_word_is_the_mean_of_its_pieces(encoder: TextEncoder) -> None:
    model = encoder._load()
    pieces = model.encode(["unbelievabilities"], output_value="token_embeddings")[0]
    features = encoder.encode(["unbelievabilities"])
    expected = pieces[1:-1].float().mean(0).half().float()
    torch.testing.assert_close(features.tokens[0, 0], expected, atol=1e-3, rtol=1e-3)


def test_cache_gives_the_same_numbers(tmp_path: Path) -> None:
    texts = ["a blue chair", "a red lamp"]
    cold = TextEncoder(cache=tmp_path).encode(texts)
    warm_encoder = TextEncoder(cache=tmp_path)
    warm = warm_encoder.encode(texts)
    assert torch.equal(cold.tokens, warm.tokens)
    assert warm_encoder._model is None  # never loaded
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_text_has_the_same_features_in_any_normal_form(encoder: TextEncoder) -> None:
    composed, decomposed = (unicodedata.normalize(form, "grüne Stühle") for form in ("NFC", "NFD"))
    features = encoder.encode([composed, decomposed])
    assert features.strings == [["grüne", "Stühle"]] * 2
    assert torch.equal(features.tokens[0], features.tokens[1])


def test_words_without_features_are_counted(tmp_path: Path) -> None:
    texts = ["a 🪑 chair", "🪑 🪑 of oak", "a b c d e f g h i"]
    for _ in ("cold", "warm"):
        features = TextEncoder(cache=tmp_path, max_tokens=8).encode(texts)
        assert features.unknown == {"🪑": 3}
        assert features.cut == 1
    assert features.select([0]).unknown == {}
    last = TextEncoder(max_tokens=400).encode(["part " * 300])  # the encoder reads 256 pieces
    assert last.unknown == {"part": int((last.tokens[0].abs().sum(-1) == 0).sum())}


def test_half_of_a_surrogate_pair_is_refused(encoder: TextEncoder) -> None:
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        encoder.encode(["a chair", "a \ud83d chair"])


def test_a_cache_is_of_its_texts_and_of_their_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(cache=tmp_path)
    encoder.encode(["a 1x2 header", "b"])
    encoder.encode(["a 1x2 header"])
    monkeypatch.setattr("models.text.tokenize", lambda text: [(text, 0, len(text))])
    assert encoder.encode(["a 1x2 header", "b"]).tokens.shape[1] == 1
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_selection_is_cut_to_its_longest_text(encoder: TextEncoder) -> None:
    features = encoder.encode(["one two", "one two three four", "one"]).select([2, 0])
    assert features.tokens.shape[:2] == (2, 2)
    assert features.strings == [["one"], ["one", "two"]]


def test_number_features_tell_counts_apart() -> None:
    features = number_features(torch.tensor([13.0, 14.0, 2.54, torch.nan]))
    counts = features[:, 2 + LOG_FEATURES :]
    assert counts.shape[-1] == COUNTS
    assert counts[0].nonzero().tolist() == [[12]]
    assert counts[1].nonzero().tolist() == [[13]]
    torch.testing.assert_close(counts[2].nonzero().flatten(), torch.tensor([1, 2]))
    assert features[3].abs().sum() == 0


def test_no_tokens_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens=0"):
        TextEncoder(max_tokens=0)


def test_no_number_leaves_the_range_of_floats() -> None:
    largest = torch.finfo(torch.float32).max
    assert number_features(torch.tensor([torch.inf, largest, -largest, 0.0, 1e-40])).isfinite().all()
