"""Sessions of visitors who watch calibrations: each has one of their own, and searches run in a small pool.

A session is known by a name that cannot be guessed and that only its visitor knows. It holds one
calibration; the next one takes its place. Sessions end when nobody has asked for a while, or when there are
too many.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from align3d.errors import UserError
from experiments.demo_views.watched_calibration import WatchedCalibration, Wish
from experiments.demo_views.watched_core import CancelledError

if TYPE_CHECKING:
    from experiments.shape_search.searcher import Searcher

WAITING, RUNNING, DONE, CANCELLED, FAILED = "waiting", "running", "done", "cancelled", "failed"


class BusyError(UserError):
    """There is no room for another calibration just yet."""


class UnknownSessionError(UserError):
    """A session that there is not, or no more."""


class CalibrationSession:
    """One visitor's calibration.

    Args:
        calibration: What is watched.

    Attributes:
        name: By which the visitor asks for it.
        state: Where it stands.
        message: What went wrong, for people.
    """

    def __init__(self, calibration: WatchedCalibration) -> None:
        self.name = secrets.token_urlsafe(18)
        self.calibration = calibration
        self.state, self.message = WAITING, ""
        self.future: Future[None] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in (DONE, CANCELLED, FAILED)

    def run(self) -> None:
        """Calibrates; a fault ends this session and no other."""
        self.state = RUNNING
        state, self.message = self._outcome()
        self.calibration.release()
        self.state = state

    def _outcome(self) -> tuple[str, str]:
        """The state that the calibration ends in, and what went wrong."""
        try:
            self.calibration.run()
        except CancelledError:
            return CANCELLED, ""
        except (UserError, ValueError) as error:
            return FAILED, str(error)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return FAILED, "the calibration broke off by a fault of the program"
        return DONE, ""

    def cancel(self) -> None:
        """Breaks the search off: at its next evaluation, or before it has begun."""
        self.calibration.cancelled.set()
        if self.future is not None and self.state == WAITING and self.future.cancel():
            self.calibration.release()
            self.state = CANCELLED

    def progress(self, nodes: int = 0, frames: int = 0) -> dict[str, Any]:
        """State, and what has come since so many nodes and evaluations were read, as plain values."""
        state = self.state  # first: what is over has nothing to come after what is read then
        return {"state": state, "message": self.message, **self.calibration.record.since(nodes, frames)}


class CalibrationSessions:
    """All sessions, and the pool in which their searches run.

    Args:
        searcher: Of the run.
        most: Sessions that are kept, at most.
        idle_seconds: Seconds after which a session that nobody asks for ends.
        workers: Searches at a time.
        waiting: Searches that may wait for their turn.
        clock: Seconds.
    """

    def __init__(
        self,
        searcher: Searcher,
        *,
        most: int = 64,
        idle_seconds: float = 600.0,
        workers: int = 2,
        waiting: int = 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.searcher, self.most, self.idle_seconds = searcher, most, idle_seconds
        self._room, self._clock = workers + waiting, clock
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="calibration")
        self._sessions: OrderedDict[str, tuple[CalibrationSession, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of sessions."""
        return len(self._sessions)

    def start(self, wish: Wish, instead_of: str | None = None) -> dict[str, Any]:
        """Begins a calibration in a session of its own.

        Args:
            wish: What is to be watched.
            instead_of: The visitor's last session, which ends.

        Returns:
            The session's name, and what is known before the search; see `WatchedCalibration.start`.

        Raises:
            BusyError: Too many are waiting.
            UserError: The wish cannot be fulfilled.
        """
        session = CalibrationSession(WatchedCalibration(self.searcher, wish))
        begun = {"session": session.name, **session.calibration.start()}
        if instead_of is not None:
            self.end(instead_of)
        with self._lock:
            self._make_room()
            self._sessions[session.name] = (session, self._clock())
            session.future = self._pool.submit(session.run)
        return begun

    def progress(self, name: str, nodes: int = 0, frames: int = 0) -> dict[str, Any]:
        """What a session has to tell; see `CalibrationSession.progress`.

        Raises:
            UnknownSessionError: There is no such session.
        """
        return self._known(name).progress(max(nodes, 0), max(frames, 0))

    def cancel(self, name: str) -> None:
        """Breaks a session's search off; what it has found stays.

        Raises:
            UnknownSessionError: There is no such session.
        """
        self._known(name).cancel()

    def end(self, name: str) -> None:
        """Ends a session, if it is there."""
        with self._lock:
            found = self._sessions.pop(name, None)
        if found is not None:
            found[0].cancel()

    def close(self) -> None:
        """Ends all sessions and waits for their searches."""
        for name in list(self._sessions):
            self.end(name)
        self._pool.shutdown(cancel_futures=True)

    def _known(self, name: str) -> CalibrationSession:
        with self._lock:
            self._expire()
            if name not in self._sessions:
                raise UnknownSessionError("this calibration is over and forgotten; start it again")
            session, _ = self._sessions[name]
            self._sessions[name] = (session, self._clock())
            self._sessions.move_to_end(name)
            return session

    def _expire(self) -> None:
        """Ends the sessions that nobody has asked for in a while."""
        now = self._clock()
        for name, (session, asked) in list(self._sessions.items()):
            if now - asked > self.idle_seconds:
                del self._sessions[name]
                session.cancel()

    def _make_room(self) -> None:
        """Room for one more session: the one that was asked for longest ago goes, unless it is still at work.

        Raises:
            BusyError: All are at work, or as many as may wait are.
        """
        self._expire()
        at_work = sum(not session.over for session, _ in self._sessions.values())
        if at_work >= self._room:
            raise BusyError(f"{at_work} calibrations are under way; try again in a minute")
        while len(self._sessions) >= self.most:
            name = next((one for one, (own, _) in self._sessions.items() if own.over), None)
            if name is None:
                raise BusyError(f"{len(self._sessions)} calibrations are under way; try again in a minute")
            del self._sessions[name]
