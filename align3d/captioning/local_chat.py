"""Model of Hugging Face transformers on this machine (image-text-to-text), from a local folder alone."""

from __future__ import annotations

import io
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from align3d.captioning.caption_settings import PREFIX, CaptionerSettings
from align3d.captioning.chat import Answer, CaptionerError, ChatRequest
from align3d.captioning.spending import Spending
from align3d.errors import UserError
from align3d.hashing import hash_json
from durable.checksums import file_sha256

FORMAT = 1
"""Version of how a question is put."""
_ONE_AT_A_TIME = threading.Lock()


class LocalChat:
    """A model that is loaded when it is first asked, and answers one question at a time.

    Nothing is downloaded and no code of the model's folder is run.

    Args:
        settings: The model's folder.
        spending: Account of the build.

    Raises:
        UserError: There is no such model.
    """

    def __init__(self, settings: CaptionerSettings, spending: Spending) -> None:
        self._folder = Path(str(settings.local)).expanduser()
        self._spending = spending
        if not (self._folder / "config.json").is_file():
            raise UserError(
                f"{PREFIX}local={self._folder}: no model there (config.json); expected the folder of a "
                "transformers model for image-text-to-text"
            )
        self._identity = _identity(self._folder)

    def key(self, request: ChatRequest) -> str:
        """Sha256 hex of the model's files, the question and what determines the pictures."""
        parts = ["local", FORMAT, self._identity, request.text, request.pictures_key, request.max_tokens]
        return hash_json([*parts, float(request.temperature)])

    def connect(self) -> None:
        """Nothing: the model is loaded by the process that asks it."""

    def ask(self, request: ChatRequest) -> Answer:
        """The model's answer.

        Raises:
            CaptionerError: The model cannot be loaded, or fails.
        """
        from PIL import Image

        pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in request.pictures()]
        content: list[dict[str, Any]] = [{"type": "image", "image": picture} for picture in pictures]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": request.text}]}]
        draws = (
            {"do_sample": True, "temperature": request.temperature}
            if request.temperature
            else {"do_sample": False}
        )
        amount = self._spending.reserve(request)
        try:
            with _ONE_AT_A_TIME:
                pipe = _loaded(str(self._folder))
                found = pipe(
                    text=messages,
                    return_full_text=False,
                    generate_kwargs={"max_new_tokens": request.max_tokens, **draws},
                )
                text = str(found[0]["generated_text"])
                tokens_out = len(pipe.tokenizer(text, add_special_tokens=False)["input_ids"])
        except Exception as error:  # whatever a model raises
            self._spending.release(amount)
            told = " ".join(str(error).split())[:200]
            raise CaptionerError(
                f"{PREFIX}local={self._folder} does not answer about {request.about} "
                f"({type(error).__name__}: {told})"
            ) from error
        finish = "length" if tokens_out >= request.max_tokens else "stop"
        answer = Answer(text, finish, self._spending.estimated(request), tokens_out, False)
        self._spending.settle(amount, request, answer)
        return answer

    def close(self) -> None:
        """Nothing to let go of: the model stays for the next shard."""


@lru_cache(maxsize=1)
def _loaded(folder: str) -> Any:
    """The model with its processor, once for each process."""
    from transformers import pipeline

    return pipeline("image-text-to-text", model=folder, trust_remote_code=False, local_files_only=True)


@lru_cache
def _identity(folder: Path) -> str:
    """Sha256 of the model's files, by their names."""
    facts = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".txt", ".jinja", ".model", ".safetensors", ".bin"):
            facts.append([path.name, file_sha256(path)])
    return hash_json(facts)
