"""Stage of a build that captions shapes, several at once where a model is waited for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from align3d.building.stages import Draft, Recipe, attempt
from align3d.captioning.answer_cache import AnswerCache
from align3d.captioning.asked_captions import (
    Asked,
    DrawingError,
    MergedCaptions,
    RewrittenCaptions,
    ViewCaptions,
)
from align3d.captioning.caption_settings import PREFIX, CaptionerSettings, captioner_settings
from align3d.captioning.chat import CaptionerError, ChatModel
from align3d.captioning.local_chat import LocalChat
from align3d.captioning.metadata_captions import (
    FileCaptions,
    FootprintCaptions,
    OwnCaptions,
    TemplateCaptions,
)
from align3d.captioning.openai_chat import OpenAIChat
from align3d.captioning.protocol import Caption, CaptionSource, Offer, Subject
from align3d.captioning.rendered_views import check_renderer, draw_item, drawn_as
from align3d.captioning.spending import Spending
from align3d.captions import unique_captions
from align3d.console.terminal import say
from align3d.errors import UserError
from align3d.hashing import hash_json
from align3d.named_classes import named_class
from align3d.record import Record, Rejection, check_record, in_plain_text
from align3d.sources import Item, Source
from durable.plain_text import plain_text

_AHEAD = 4
"""Shapes that are read ahead of the one whose captions are awaited, for each request that may be open."""


@dataclass(frozen=True)
class Captioner:
    """Stage of a build that gives records their captions; picklable, as each worker process has one.

    Attributes:
        source: Source of the shapes, which also draws them.
        settings: Steps, model and limits.
        answers: Folder of answers that were given before.
        account: File of what all calls of the build have cost.
    """

    source: Source
    settings: CaptionerSettings
    answers: Path
    account: Path

    @property
    def apart(self) -> bool:
        """Whether it wants workers of its own where a build is spread: it waits for a model."""
        return self.settings.asks

    def fingerprint(self) -> str:
        """Sha256 hex of what determines the captions: steps, model and prompts; no address, key or limit."""
        with self._steps(threading.Event()) as (steps, _):
            return hash_json([[step.fingerprint() for step in steps], self.settings.keep])

    @contextmanager
    def accounted(self) -> Iterator[None]:
        """Around a call of the build: says in the end, and with what ends it, what captions have cost.

        Raises:
            CaptionerError: As the body does, with what was spent.
        """
        if not self.settings.asks:
            yield
            return
        spending = self._spending(threading.Event())
        before = spending.begin()
        try:
            yield
        except CaptionerError as error:
            raise CaptionerError(
                f"{error}; {spending.report(before)}; what is finished is kept: the same command goes on"
            ) from error
        if spending.account() != before:
            say(spending.report(before), error=True)

    def __call__(self, drafts: Iterator[Draft], recipe: Recipe) -> Iterator[Draft]:
        """The drafts with their captions; a shape without any is rejected.

        Raises:
            UserError: The key, a package or a file is missing.
            CaptionerError: A model does not answer. What was answered is kept.
        """
        stopped = threading.Event()
        with self._steps(stopped) as (steps, models):
            for model in models:
                model.connect()
            waits = any(step.waits for step in steps)
            ahead = _AHEAD * self.settings.parallel if waits else 0
            pool = ThreadPoolExecutor(self.settings.parallel if waits else 1, thread_name_prefix="captioner")
            waiting: deque[Future[Draft]] = deque()
            try:
                for draft in drafts:
                    waiting.append(pool.submit(self._captioned, steps, draft, recipe))
                    while len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                stopped.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _captioned(self, steps: Sequence[CaptionSource], draft: Draft, recipe: Recipe) -> Draft:
        """What comes of one draft."""
        record = draft.outcome
        if isinstance(record, Rejection):
            return draft
        checked = attempt(draft.item, lambda: _checked(record, recipe))  # before anything is paid
        if isinstance(checked, Record):
            return replace(draft, outcome=self._with_captions(steps, draft, checked))
        return replace(draft, outcome=checked)

    def _with_captions(
        self, steps: Sequence[CaptionSource], draft: Draft, record: Record
    ) -> Record | Rejection:
        subject = self._subject(draft, record)
        offered: dict[str, tuple[Caption, ...]] = {}
        problems: list[str] = []
        earlier: list[Caption] = []
        for name, step in zip(self.settings.steps, steps, strict=True):
            offer = _offer(step, subject, earlier)
            offered[name] = offer.captions
            earlier += offer.captions
            problems += [f"{step.name}: {why}" for why in offer.problems]
        kept = [caption for name in self.settings.keep or self.settings.steps for caption in offered[name]]
        origins = {caption.text: caption.origin for caption in reversed(kept)}
        texts = unique_captions(caption.text for caption in kept)
        if not texts:
            why = "; ".join(problems) or f"none of captioner.steps={','.join(offered)} gives one"
            return Rejection(record.id, f"no caption: {why}")
        return replace(
            record,
            captions=texts,
            caption_origins=tuple(origins[text] for text in texts),
            notes=(*record.notes, *(f"caption left out: {why}" for why in problems)),
        )

    def _subject(self, draft: Draft, record: Record) -> Subject:
        def draw() -> Sequence[bytes]:
            settings, item = self.settings, Item(draft.item, draft.payload)
            try:
                return draw_item(self.source, item, record, settings.views, settings.view_size)
            except Exception as error:  # whatever its reader raises
                told = " ".join(str(error).split())[:200]
                raise DrawingError(told or type(error).__name__) from error

        own = tuple(Caption(*pair) for pair in zip(record.captions, record.origins, strict=True))
        x, y, z = (float(extent) for extent in record.size_m)
        return Subject(
            id=record.id,
            category=record.category,
            part_names=record.part_names,
            size_m=(x, y, z),
            content_hash=record.content_hash,
            own=own,
            drawn_as=drawn_as(self.source),
            draw=draw,
        )

    def _spending(self, stopped: threading.Event) -> Spending:
        """The account of all calls that build these captions of this source."""
        return Spending(self.account, self.settings, stopped)

    @contextmanager
    def _steps(self, stopped: threading.Event) -> Iterator[tuple[list[CaptionSource], list[ChatModel]]]:
        """The steps, and the models that they ask, which are closed in the end.

        Raises:
            UserError: A setting names something that there is not.
        """
        settings, spending = self.settings, self._spending(stopped)
        models: list[ChatModel] = []

        def asked(name: str | None) -> Asked:
            model: ChatModel
            if settings.local is not None:
                model, label = LocalChat(settings, spending), Path(settings.local).name
            else:
                label = str(name)
                model = OpenAIChat(settings, label, spending, stopped)
            models.append(model)
            return Asked(model, label, AnswerCache(self.answers), settings, spending.know)

        def views() -> CaptionSource:
            check_renderer()
            return ViewCaptions(asked(settings.model), settings)

        reader = settings.text_model or settings.model
        makers: dict[str, Callable[[], CaptionSource]] = {
            "source": OwnCaptions,
            "template": lambda: TemplateCaptions(settings.template),
            "file": lambda: FileCaptions(Path(str(settings.file)).expanduser()),
            "footprints": lambda: FootprintCaptions(Path(str(settings.footprints)).expanduser()),
            "views": views,
            "rewrite": lambda: RewrittenCaptions(asked(reader), settings),
            "merge": lambda: MergedCaptions(asked(reader), settings),
        }
        try:
            yield [makers[name]() if name in makers else _own(name) for name in settings.steps], models
        finally:
            for model in models:
                model.close()
            if settings.asks:
                spending.close()


def captioner_of(
    given: Mapping[str, Any] | CaptionerSettings | str | None, source: Source, cache: Path
) -> Captioner | None:
    """The captioner that settings ask for; None where there are none.

    Args:
        given: Its settings.
        source: Source of the shapes.
        cache: Folder of all caches; answers are kept in ``captions`` there, unless a setting says where.

    Raises:
        UserError: A setting is wrong.
    """
    settings = captioner_settings(given)
    if settings is None:
        return None
    answers = cache / "captions" if settings.answers is None else Path(settings.answers).expanduser()
    models = [settings.model, settings.text_model, settings.local]
    job = hash_json([source.name, source.fingerprint(), settings.steps, models])
    return Captioner(source, settings, answers, answers / "accounts" / f"{job[:32]}.json")


def _offer(step: CaptionSource, subject: Subject, earlier: Sequence[Caption]) -> Offer:
    """What a step offers, in plain text; whatever else it raises is a problem of the shape's captions."""
    try:
        offer = step.captions(subject, earlier)
        texts = [plain_text(caption.text) for caption in offer.captions]
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        return Offer(problems=(f"{type(error).__name__}: {told}",))
    captions = (replace(one, text=text) for one, text in zip(offer.captions, texts, strict=True))
    return Offer(tuple(captions), offer.problems)


def _own(name: str) -> CaptionSource:
    """A source of captions of the user's own.

    Raises:
        DataError: There is no such class, or it lacks something.
    """
    parts = ("name", "waits", "fingerprint", "captions")
    found: CaptionSource = named_class(name, {}, parts, f"{PREFIX}steps", "step")()
    return found


def _checked(record: Record, recipe: Recipe) -> Record:
    """The record with plain texts, if nothing but captions may be missing."""
    record = in_plain_text(record)
    check_record(record, recipe.points, captioned=False)
    return record
