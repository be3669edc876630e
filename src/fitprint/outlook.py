"""What lies ahead of a run: learns what its epochs cost, forecasts, and asks the budgets at boundaries."""

from __future__ import annotations

from fitprint.account import Window
from fitprint.blocks import NEVER
from fitprint.books import Books
from fitprint.budget import Spent
from fitprint.clock import NS_PER_S
from fitprint.drift import Range
from fitprint.energy import Energy
from fitprint.footprint import EpochFootprint
from fitprint.forecast import Forecast, Position, look_ahead
from fitprint.pace import Pace, Schedule
from fitprint.per_batch import PerBatch
from fitprint.periods import Periods
from fitprint.watch import Watch

# What sensors tell over fewer of their ticks, or over less time, says too little of single batches: runs beside this one are
# divided with once a second.
SURE_TICKS, SURE_S = 10, 2.0


class Outlook:
    """Forecasts a run and has its budgets decide.

    Args:
        books: What has been used.
        periods: Epochs and blocks.

    Attributes:
        schedule: The framework's plan.
        pace: What epochs and the work around them cost.
        watch: The budgets.
        batches_done: Batches of the open epoch that are known to be done.
        warm_up_j: What the first epoch's first batches have used beyond its others; 0.0 where that was little.
    """

    watch: Watch

    def __init__(self, books: Books, periods: Periods) -> None:
        self.schedule = Schedule()
        self.pace = Pace()
        self.batches_done = 0
        self.warm_up_j = 0.0
        self._books = books
        self._periods = periods
        self._epoch_end_j = 0.0
        self._per_batch = PerBatch()

    # ---- forecasts

    def forecast(self) -> Forecast | None:
        """A look ahead from the last reading; None before anything is known."""
        blocks = self._periods.blocks
        if self.schedule.batches is None and self.schedule.steps is not None and blocks.window is not None:
            return blocks.forecast(self._periods.steps_done, self.batches_done, self._books.energy_j)
        return look_ahead(self.pace, self.schedule, self._position())

    def at_the_end(self, spent: Spent) -> Range | None:
        """The whole run in grams; None where its length is unknown or nothing is known yet."""
        forecast = self.forecast()
        return _whole(forecast, spent) if forecast is not None and forecast.end is not None else None

    def so_far(self, spent: Spent) -> Range:
        """The whole run in grams; what is known so far where no more can be said."""
        return _whole(self.forecast(), spent)

    def _position(self) -> Position:
        window, batches = self._periods.open, self.schedule.batches
        if window is None:
            return Position(self._periods.next_index)
        validation_j, batch_j = window.joules_in("validate"), self._per_batch.usual_j(_sure_s(window.energy))
        by_batch_j = None if batch_j is None or batches is None else batches * batch_j
        # Of a run's first look nobody can tell how much of it was warm-up.
        share = min(1.0, self.batches_done / batches) if batches and (by_batch_j or not self._warming_up) else 0.0
        return Position(self._periods.opened.index, share, window.energy.joules - validation_j, validation_j, by_batch_j)

    # ---- epochs

    def is_last(self, index: int) -> bool:
        """Whether no epoch is planned after this one."""
        last = self.schedule.last_epoch
        return last is not None and index + 1 >= last

    def begin_epoch(self, schedule: Schedule) -> None:
        """An epoch begins at the last reading, which has been planned so."""
        self.watch.goes_on()
        self.schedule, self.batches_done, self._per_batch = schedule, 0, PerBatch()
        if self._periods.epochs:
            self.pace.gap(self._books.energy_j - self._epoch_end_j)
        else:
            self._epoch_end_j = self._books.energy_j

    def first_look(self) -> int:
        """Batches after which to look inside an epoch that has just begun."""
        return 1 if self.watch.budgets or self._warming_up else self._periods.blocks.end

    @property
    def _warming_up(self) -> bool:
        """Whether nothing but the open epoch's own batches tells what an epoch costs; ranks of a job would have to meet for it."""
        return self.pace.epochs_seen == 0 and self.schedule.batches is not None and self._books.team is None

    def learn_epoch(self, epoch: EpochFootprint, window: Window) -> None:
        """A whole epoch has ended at the last reading."""
        validation_j = window.joules_in("validate")
        training_j = self._books.energy_j - self._epoch_end_j - validation_j
        if self._warming_up:
            self.warm_up_j, validation_j = self._warmed_up(window, validation_j)
            training_j -= self.warm_up_j
        self.pace.epoch(training_j + validation_j, validation_j, index=epoch.index, length=self.schedule.length)

    def _warmed_up(self, window: Window, validation_j: float) -> tuple[float, float]:
        """What warming up has cost in training, and what a validation will cost: after a warm-up no more a batch than training."""
        self._see(self.schedule.batches or 0, window)
        sure_s, batches = _sure_s(window.energy), self.schedule.validation_batches
        warm_up_j, batch_j = self._per_batch.warm_up_j(sure_s), self._per_batch.usual_j(sure_s)
        if not warm_up_j or batch_j is None or batches is None:
            return warm_up_j, validation_j
        return warm_up_j, min(validation_j, batches * batch_j)

    def _see(self, batches: int, window: Window, unseen_j: float = 0.0) -> None:
        training = window.phases.get("train", Energy())
        self._per_batch.see(batches, training.joules + unseen_j, training.duration_ns / NS_PER_S)

    def end_epoch(self) -> None:
        """What comes from the last reading on is not the epoch's."""
        self._epoch_end_j = self._books.energy_j

    # ---- the budgets' answers

    def ask(self, spent: Spent) -> None:
        """Whether another epoch may begin."""
        self.watch.before(
            spent,
            self.pace,
            epochs_done=self._periods.epochs_done,
            power_w=self._books.power_w,
            number=self._periods.next_index,
            schedule=self.schedule,
        )

    def ask_for_block(self, spent: Spent, number: int) -> None:
        """Whether another block may begin."""
        epochs, power_w, pace = self._periods.epochs_done, self._books.power_w, self._periods.blocks.pace
        self.watch.before(spent, pace, epochs_done=epochs, power_w=power_w, what="block", number=number)

    def look(self, spent: Spent, unseen_j: float) -> int:
        """Whether the batches up to the next look fit; returns the batches done by then.

        Args:
            spent: What counts so far.
            unseen_j: What of it has probably been drawn since the counters were read.
        """
        window, done = self._periods.open, self.batches_done
        if window is None:
            return NEVER
        # Validations inside the epoch belong to what its batches cost.
        per_batch_j = (window.energy.joules + unseen_j) / max(1, done)
        next_look = self._next_look(spent, per_batch_j)
        if 0 < done < (self.schedule.batches or NEVER):
            ahead_j = per_batch_j * (next_look - done + self.schedule.batches_after_stop)
            training_j, index = window.joules_in("train") + unseen_j, self._periods.opened.index
            self._see(done, window, unseen_j)
            batch_j = self._per_batch.energy_j
            closing = self.pace.closing(training_j, done, self._books.power_w, self.schedule, index, batch_j)
            self.watch.inside_epoch(spent, ahead_j, closing, epochs_done=self._periods.epochs_done, number=index)
        return next_look

    def _next_look(self, spent: Spent, per_batch_j: float) -> int:
        """Batches done at the next look, the first of: the block's end, the budgets' interval, twice as many at the very start."""
        latest = self._periods.blocks.end
        if self._warming_up:
            latest = min(latest, 2 * self.batches_done)
        if not self.watch.budgets:
            return latest
        interval = self.watch.batches_to_next_look(spent, per_batch_j)
        epoch_end = max(self.batches_done + 1, self.schedule.batches or NEVER)
        return min(latest, self.batches_done + interval, epoch_end)


def _sure_s(energy: Energy) -> float:
    return max(SURE_S, SURE_TICKS * max((sensor.tick_s for sensor in energy.sensors), default=0.0))


def _whole(forecast: Forecast | None, spent: Spent) -> Range:
    rest = forecast.rest() if forecast is not None else None
    return (rest or Range(0.0, 0.0, 0.0)).scaled(spent.g_per_j, spent.co2e_g)
