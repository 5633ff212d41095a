"""Account of what a build's captions cost, which also keeps them within rates and a budget.

It is one small file that all worker processes share, under a lock. What a question may cost at most is
reserved before it is sent, so that the budget holds whatever is under way at once; what it did cost takes the
place of that afterwards.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from align3d.captioning.caption_settings import PREFIX, CaptionerSettings
from align3d.captioning.chat import Answer, CaptionerError, ChatRequest, Stopped
from durable.checksums import checked_json, json_bytes
from durable.errors import DamagedFileError
from durable.file_lock import locked
from durable.plain_data import typed
from durable.whole_files import name_beside

_MILLION = 1e6
_CHARACTERS_PER_TOKEN = 3
"""Characters of a token, at least, in the languages that are asked in."""
_TOKENS_PER_PICTURE = 1500
"""Tokens of a picture until a server has counted some."""


@dataclass
class Account:
    """What was asked and spent.

    Attributes:
        asked: Answers that a model gave.
        known: Answers that were in the cache.
        tokens_in: Tokens that were sent.
        tokens_out: Tokens of answers.
        estimated: Answers whose tokens no server counted.
        cost: What they cost.
        reserved: What questions under way may cost at most.
        picture: Tokens of a picture, the most that was seen.
        next_request: Time (time(2)) from which the next question may be sent, by the rate of requests.
        next_tokens: The same by the rate of tokens.
        paused: Time until which a server asked to be left alone.
    """

    asked: int = 0
    known: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: int = 0
    cost: float = 0.0
    reserved: float = 0.0
    picture: float = 0.0
    next_request: float = 0.0
    next_tokens: float = 0.0
    paused: float = 0.0


class Spending:
    """The account of a build.

    Args:
        path: Its file.
        settings: Prices, rates and the budget.
        stopped: Set when nothing more is to be asked; waits end then.
    """

    def __init__(
        self, path: Path, settings: CaptionerSettings, stopped: threading.Event | None = None
    ) -> None:
        self._path, self._settings = path, settings
        self._stopped = stopped or threading.Event()
        self._mine, self._known = threading.Lock(), 0

    def begin(self) -> Account:
        """Start a call of the build, when nobody asks: what a killed one had under way counts as spent.

        Returns:
            The account as it is from then on.
        """
        with self._changed() as account:
            account.cost += account.reserved
            account.reserved = 0.0
        return account

    def account(self) -> Account:
        """The account as it stands."""
        with self._locked():
            return self._read()

    def reserve(self, request: ChatRequest) -> float:
        """Wait until a question may be sent, and set aside what it may cost: the amount.

        Raises:
            CaptionerError: The budget does not bear it, or nothing more is to be asked.
        """
        settings, now = self._settings, time.time()
        with self._changed() as account:
            tokens = self._tokens(request, account)
            amount = self._price(tokens, request.max_tokens)
            budget = settings.budget
            if budget is not None and account.cost + account.reserved + amount > budget:
                raise CaptionerError(
                    f"{PREFIX}budget={budget:g} is spent: {account.cost:.4g} of it, "
                    f"{account.reserved:.4g} under way, and the next question may cost {amount:.2g}; "
                    "raise it to go on"
                )
            account.reserved += amount
            start = max(now, account.paused)
            if settings.requests_per_minute:
                start = max(start, account.next_request)
                account.next_request = start + 60.0 / settings.requests_per_minute
            if settings.tokens_per_minute:
                start = max(start, account.next_tokens)
                account.next_tokens = (
                    start + (tokens + request.max_tokens) * 60.0 / settings.tokens_per_minute
                )
        if self._stopped.wait(max(0.0, start - now)):
            self.release(amount)
            raise Stopped
        return amount

    def pause(self, seconds: float) -> None:
        """Let nobody send a question for a while, as a server asks."""
        with self._changed() as account:
            account.paused = max(account.paused, time.time() + seconds)

    def release(self, amount: float) -> None:
        """Give back what a question was to cost that no model answered."""
        with self._changed() as account:
            account.reserved = max(0.0, account.reserved - amount)

    def lose(self, amount: float) -> None:
        """Count a question as paid whose answer was lost on its way."""
        with self._changed() as account:
            account.reserved = max(0.0, account.reserved - amount)
            account.cost += amount

    def settle(self, amount: float, request: ChatRequest, answer: Answer) -> None:
        """Count an answer in place of what was set aside for it."""
        settings = self._settings
        with self._changed() as account:
            expected = self._tokens(request, account) + request.max_tokens
            account.reserved = max(0.0, account.reserved - amount)
            account.asked += 1
            account.tokens_in += answer.tokens_in
            account.tokens_out += answer.tokens_out
            account.estimated += not answer.is_counted
            account.cost += self._price(answer.tokens_in, answer.tokens_out)
            if answer.is_counted and request.num_pictures:
                seen = (answer.tokens_in - len(request.text) / 6) / request.num_pictures
                account.picture = max(account.picture, seen)
            if settings.tokens_per_minute:
                less = answer.tokens_in + answer.tokens_out - expected
                account.next_tokens += less * 60.0 / settings.tokens_per_minute

    def know(self) -> None:
        """Count an answer that was in the cache; ``close`` writes it down."""
        with self._mine:
            self._known += 1

    def close(self) -> None:
        """Write down what was counted in memory."""
        if self._known:
            with self._changed() as account:
                account.known += self._known
            self._known = 0

    def has_answered(self) -> bool:
        """Whether the model has ever answered."""
        if self._known:
            return True
        account = self.account()
        return bool(account.asked or account.known)

    def report(self, before: Account) -> str:
        """What was asked and spent since, in a line, and in all calls of the build."""
        account = self.account()
        words = (
            f"captions: {account.asked - before.asked:,} answers of the model, "
            f"{account.known - before.known:,} known before; "
            f"{account.tokens_in - before.tokens_in:,} tokens in, "
            f"{account.tokens_out - before.tokens_out:,} out"
        )
        if (estimated := account.estimated - before.estimated) > 0:
            words += f" ({estimated:,} answers without a count, estimated)"
        if self._settings.price_in or self._settings.price_out:
            words += f"; cost {account.cost - before.cost:.4f}, {account.cost:.4f} in all calls"
        return words

    def estimated(self, request: ChatRequest) -> int:
        """Tokens of a question where no server counts them."""
        return self._tokens(request, self.account())

    def _tokens(self, request: ChatRequest, account: Account) -> int:
        """Tokens of a question, at most."""
        pictures = request.num_pictures * (account.picture or _TOKENS_PER_PICTURE)
        return int(len(request.text.encode()) / _CHARACTERS_PER_TOKEN + pictures) + 16

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        settings = self._settings
        return (tokens_in * settings.price_in + tokens_out * settings.price_out) / _MILLION

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mine, locked(self._path.with_suffix(".lock")):
            yield

    @contextmanager
    def _changed(self) -> Iterator[Account]:
        """The account, written again unless the body raises."""
        with self._locked():
            account = self._read()
            yield account
            with name_beside(
                self._path
            ) as beside:  # whole or not at all; a power cut may take the last of it
                beside.write_bytes(json_bytes(asdict(account), indent=None))
                os.replace(beside, self._path)

    def _read(self) -> Account:
        try:
            return typed(Account, checked_json(self._path, json.loads(self._path.read_text())))
        except FileNotFoundError:
            return Account()
        except (ValueError, TypeError, AttributeError) as error:
            raise DamagedFileError(
                f"{self._path} is damaged, so nobody knows what was spent; remove it to begin a new account"
            ) from error
