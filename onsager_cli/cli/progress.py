"""Show the progress of a training: one live line per running curve and one of the figure on a terminal, log lines elsewhere.

`Progress` receives the events of a training (plain dictionaries) and stores for each running curve how far it is.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from onsager_cli.cli.estimate import Course, Estimate
from onsager_cli.text import clock

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

Event = Mapping[str, Any]  # JSON values; event["event"] names its kind
SHORTEST = 7  # the highest level of `Progress.line`
NARROWEST = 20  # columns of a terminal; fewer are taken for a mistake
LOG_SECONDS = 10.0  # a log shows at most one evaluation per curve in this time


@dataclass
class Running:
    """How far one curve is."""

    slug: str
    place: str
    course: Course
    stage: str = "starting"
    steps: int = 0
    per_step: float = 0.0  # work of one step
    step: int = 0
    compiling: float | None = None  # since when
    nmse_db: float | None = None
    best_db: float | None = None
    point: str = ""  # the latest point on the test set, for the last line of the curve
    unlogged: bool = False  # the log has not shown the latest evaluation
    logged_at: float = float("-inf")

    @property
    def name(self) -> str:
        """The curve and its place in the figure, if a "curve" event has announced the place."""
        return f"{self.slug} ({self.place})" if self.place else self.slug

    def reach(self, step: int, now: float) -> None:
        """So many steps of the stage are taken."""
        if step > self.step:
            self.course.step(now, step - self.step, (step - self.step) * self.per_step)
            self.step = step

    def finish_stage(self) -> None:
        """Count the current stage as done."""
        self.course.end_stage(self.steps * self.per_step)
        self.step, self.steps = 0, 0

    def stage_seconds_left(self, now: float) -> float | None:
        """Time to the end of the stage; None before its speed is known, and at its end."""
        if self.course.pace is None or self.step >= self.steps or self.compiling is not None:
            return None
        since = self.course.pending + (now - self.course.at if self.course.at is not None else 0.0)
        return max(0.0, self.course.pace * (self.steps - self.step) * self.per_step - since)


class Progress:
    """Shows events on `stream` (default: stderr). Use it as a context manager and call it with each event.

    `live` forces or forbids the live display; by default it is on if the stream is a terminal.
    """

    def __init__(
        self, stream: TextIO | None = None, live: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty() if live is None else live
        self.clock = clock
        self.figure, self.curves, self.ended = "", 0, 0
        self.estimate = Estimate()
        self.running: dict[object, Running] = {}  # by the number of the curve, or its name
        self.seeds = 1  # of the figure: on how many matrices its curves are
        self._display: Live | None = None

    def __enter__(self) -> "Progress":
        if self.live:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self.stream)
            if console.width < NARROWEST:  # COLUMNS=0, or a terminal that does not say
                console = Console(file=self.stream, width=80)
            look = {"refresh_per_second": 2, "transient": True, "redirect_stdout": False}
            self._display = Live(console=console, get_renderable=self._table, **look)
            self._display.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._display is not None:
            self._display.stop()
            self._display = None

    def __call__(self, event: Event) -> None:
        """Show one event; events of unknown kinds are ignored."""
        if (handler := getattr(self, f"_on_{event['event']}", None)) is not None:
            handler(event)

    def _on_figure(self, event: Event) -> None:
        self.figure, self.curves, self.ended = event["name"], event["curves"], 0
        self.seeds = event.get("seeds", 1)
        self.estimate = Estimate(event.get("jobs", 1), event.get("expected", {}), event.get("known", False))
        needs = f"; needs {event['needs']}" if event.get("needs") else ""
        beside = f", {event['jobs']} at a time" if event.get("jobs", 1) > 1 else ""
        self._print(f"{self.figure}: {self.curves} curve{'s' * (self.curves != 1)}{beside}{needs}")

    def _on_curve(self, event: Event) -> None:
        seed = f", seed {event['seed']}" if self.seeds > 1 else ""
        course = self.estimate.begin(_key(event), float(event["work"]), self.clock())
        running = Running(event["curve"], f"{event['index']}/{event['of']}{seed}", course)
        self.running[_key(event)] = running
        if event.get("resumed_from"):
            self._print(f"{running.name}: resumes after {event['resumed_from']}")

    def _on_stage(self, event: Event) -> None:
        running = self._of(event)
        self._end_stage(running)
        running.stage, running.steps = event["stage"], int(event["steps"])
        running.per_step = float(event["work"]) / max(running.steps, 1)
        running.nmse_db = running.best_db = None
        running.course.begin(self.clock())

    def _on_compiling(self, event: Event) -> None:
        running = self._of(event)
        running.compiling = self.clock()
        running.course.compile()

    def _on_started(self, event: Event) -> None:
        running = self._of(event)
        running.compiling, running.step = None, int(event["step"])
        running.course.in_stage = running.step * running.per_step  # a resumed stage has some
        running.course.begin(self.clock())

    def _on_step(self, event: Event) -> None:
        self._of(event).reach(int(event["step"]), self.clock())

    def _on_eval(self, event: Event) -> None:
        running, now = self._of(event), self.clock()
        running.reach(int(event["step"]), now)
        running.nmse_db, running.best_db = event["nmse_db"], event["best_db"]
        running.unlogged = True
        if now - running.logged_at >= LOG_SECONDS:
            self._log_eval(running)

    def _on_point(self, event: Event) -> None:
        running = self._of(event)
        self._end_stage(running)
        layer = event.get("layer")
        where = "" if layer is None else f"layer {layer}: "
        cost = f", {event['steps']} steps, {clock(event['seconds'])}" if event.get("steps") else ""
        error = "" if event.get("nmse_db_se") is None else f" ± {event['nmse_db_se']:.2f}"
        running.point = f"{where}{event['nmse_db']:.2f}{error} dB"
        self._print(f"{running.name}: {running.point} on the test set{cost}")

    def _on_curve_done(self, event: Event) -> None:
        running = self._of(event)
        self._end_stage(running)
        self.running.pop(_key(event), None)
        self.estimate.end(_key(event), self.clock())
        self.ended += 1
        end = "already trained" if event.get("shared") else f"done after {clock(event['seconds'])}"
        point = f", {running.point}" if running.point else ""
        self._print(f"{running.name}: {end}{point}", style="green")

    def _on_curve_given_up(self, event: Event) -> None:
        self.running.pop(_key(event), None)
        self.estimate.give_up(_key(event))

    def _on_bootstrap(self, event: Event) -> None:
        if event["taken"]:
            levels = f"{event['tied_db']:.2f} instead of {event['own_db']:.2f} dB"
            name = f"{self._of(event).name}: {event['stage']}"
            self._print(f"{name}: replaced by the tied network, {levels}", log_only=True)

    def _on_warning(self, event: Event) -> None:
        slug = event.get("curve")
        self._print(f"warning: {f'{slug}: ' if slug else ''}{event['message']}", style="yellow")

    def _on_attainable(self, event: Event) -> None:
        self._print(f"{self._of(event).name}: {event['message']}")

    _on_again = _on_attainable

    def _of(self, event: Event) -> Running:
        """The running curve of an event, even if no "curve" event has announced it."""
        key = _key(event)
        if key not in self.running:
            self.running[key] = Running(event["curve"], "", Course(0.0, self.clock()))
        return self.running[key]

    def _end_stage(self, running: Running) -> None:
        """Log the last evaluation of the stage if the log has not shown it, and count the stage as done."""
        if running.unlogged:
            self._log_eval(running)
        running.finish_stage()

    def _log_eval(self, running: Running) -> None:
        running.unlogged, running.logged_at = False, self.clock()
        self._print(self.line(running), log_only=True)

    def figure_seconds_left(self) -> float | None:
        """Time to the end of the figure; None while it is unknown."""
        return self.estimate.seconds_left(self.clock())

    def figure_line(self) -> str:
        """How far the figure is, in one line."""
        left = self.figure_seconds_left()
        ends = "" if left is None else f" | left: {clock(left)}"
        return f"{self.figure} | {self.ended} of {self.curves} curves done{ends}"

    def line(self, running: Running, width: float = math.inf) -> str:
        """The state of one curve in one line. Where `width` is small, the least important parts are shortened first."""
        lines = (self._shortened(running, level) for level in range(SHORTEST + 1))
        return next((line for line in lines if len(line) <= width), "") or self._shortened(running, SHORTEST)

    def _shortened(self, running: Running, level: int) -> str:
        """The line, with as many parts shortened as `level` says; the time left and the NMSE are kept longest."""
        parts = [running.name if level < 5 else running.slug]
        if level < 6 or running.nmse_db is None:
            parts.append(running.stage if level < 3 else running.stage.partition(":")[0])
        if running.compiling is not None:
            parts.append(f"compiling, {clock(self.clock() - running.compiling)}")
        elif running.steps and level < 7:
            of = f"/{running.steps}" if running.step <= running.steps else ""  # patience may outlast what was expected
            parts.append(f"{'step ' if level < 4 else ''}{running.step}{of}")
        if running.nmse_db is not None and running.best_db is not None:
            parts.append(f"{running.nmse_db:.2f} dB" + (f", best {running.best_db:.2f}" if level < 2 else ""))
        now = self.clock()
        ends = {"stage": running.stage_seconds_left(now)}
        if self.live and self.curves > 1:  # the figure has a line of its own
            ends["curve"] = running.course.seconds_left(now, 1.0 if self.estimate.known else None)
        else:
            ends["figure"] = self.figure_seconds_left()
        left = [f"{name} {clock(seconds)}" for name, seconds in ends.items() if seconds is not None]
        if left:
            parts.append(f"left: {', '.join(left if level < 1 else left[-1:])}")
        return " | ".join(parts)

    def _table(self) -> "Text":
        """The live display: one line per running curve and one of the figure, as wide as the terminal."""
        from rich.text import Text

        width = self._display.console.width if self._display is not None else math.inf
        lines = [self.line(running, width) for running in list(self.running.values())]
        if self.curves > 1:
            lines.append(self.figure_line()[: int(min(width, 1000))])
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def _print(self, text: str, log_only: bool = False, style: str | None = None) -> None:
        """Print a line; omit `log_only` lines if the live display is on, which shows the same.

        A terminal wraps a line that is longer than itself. rich leaves the style out where NO_COLOR is set.
        """
        if self._display is None:
            print(text, file=self.stream, flush=True)
        elif not log_only:
            self._display.console.print(text, markup=False, highlight=False, style=style)


def _key(event: Event) -> object:
    """By what the curve of an event is known: its number, or its name."""
    return event.get("task", event["curve"])
