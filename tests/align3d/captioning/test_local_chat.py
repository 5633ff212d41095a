"""Model of transformers on this machine: a tiny one with random weights, from files alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from align3d.captioning.caption_settings import CaptionerSettings
from align3d.captioning.captioner import captioner_of
from align3d.captioning.chat import ChatRequest
from align3d.captioning.local_chat import LocalChat
from align3d.captioning.spending import Spending
from align3d.errors import UserError
from align3d.pipeline import build
from tests.align3d.toy_source import Boxes

WORDS = [
    *(
        "a",
        "the",
        "red",
        "gray",
        "blue",
        "box",
        "chair",
        "with",
        "legs",
        "of",
        "wood",
        "and",
        "metal",
        "small",
    ),
    *("large", "round", "square", "lamp", "on", "in", "one"),
]
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %} "
    "{% endfor %}{% endfor %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that sees, of some 20,000 weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    names = ["<pad>", "<s>", "</s>", "<unk>", "<image>", *WORDS]
    words = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    text = LlamaConfig(
        vocab_size=len(names), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=4, image_seq_length=4)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokenizer, patch_size=16, vision_feature_select_strategy="default", chat_template=CHAT,
        image_token="<image>", num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), value, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def chat(folder: Path, account: Path) -> LocalChat:
    settings = CaptionerSettings(steps=("views",), local=str(folder))
    return LocalChat(settings, Spending(account, settings))


def test_a_local_model_answers_the_same_each_time(model: Path, tmp_path: Path) -> None:
    local = chat(model, tmp_path / "account.json")
    request = ChatRequest("box", "the red box", 7, 0.0, lambda: [picture(10), picture(200)], 2, "k")
    first, second = local.ask(request), local.ask(request)
    assert first == second
    assert 1 <= len(first.text.split()) <= 7
    assert set(first.text.split()) <= {*WORDS, "<unk>"}
    assert first.finish == ("length" if first.tokens_out >= 7 else "stop")
    assert local.ask(ChatRequest("box", "a round lamp on wood", 7, 0.0)).text  # of a text alone


def test_its_files_are_part_of_the_key(model: Path, tmp_path: Path) -> None:
    request = ChatRequest("box", "the red box", 7, 0.0)
    assert chat(model, tmp_path).key(request) == chat(model, tmp_path).key(request)
    other = tmp_path / "other"
    other.mkdir()
    for file in model.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    assert chat(other, tmp_path).key(request) == chat(model, tmp_path).key(request)
    (other / "chat_template.jinja").write_text("other words")
    again = tmp_path / "again"
    other.rename(again)
    assert chat(again, tmp_path).key(request) != chat(model, tmp_path).key(request)


def test_a_build_asks_it_and_stores_no_nonsense_of_it(model: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "steps": ["source", "views"],
        "local": str(model),
        "views": 2,
        "view_size": 32,
    }
    settings |= {"max_tokens": 6, "answers": str(tmp_path / "answers")}
    captioner = captioner_of(settings, Boxes(2), tmp_path)
    assert captioner is not None
    dataset = build(Boxes(2), tmp_path / "boxes", points=16, workers=1, progress=False, stages=[captioner])
    captions = [caption for own in dataset.caption_origins for caption in own if caption.startswith("views:")]
    assert len(captions) + len(dataset.notes) == 2
    assert all(origin == "views:tiny-llava" for origin in captions)


def test_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"captioner\.local=.*no model there"):
        chat(tmp_path, tmp_path / "account.json")
