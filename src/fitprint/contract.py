"""What every adapter keeps, as tests that the authors of an adapter inherit."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from fitprint.errors import ConfigError
from fitprint.footprint import Footprint
from fitprint.sensors.counter import Counter
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint.tracker import Tracker

STEPS, STEP_S, WATTS = 4, 1.0, 100.0
EPOCH_J = STEPS * STEP_S * WATTS
# Of Python's own operations, in all hooks from one training step to the next; adapters of this package run 41 to 102.
MOST_BYTECODES = 150

Step = Callable[[], None]


def measuring(
    callback: Any, counters: Sequence[Counter], clock: FakeClock, environ: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Let an adapter's callback read these counters and nothing of this machine.

    Args:
        callback: An object whose ``series`` is a ``fitprint.series.Series``, as in all adapters of this package.
        counters: What it reads.
        clock: Its time.
        environ: Its environment.

    Returns:
        The callback.
    """
    make_tracker = partial(Tracker, counters=counters, around=Surroundings(clock=clock, environ=environ))
    callback.series = Series(callback.series.config, make_tracker)
    return callback


class Bytecodes:
    """Counts the operations of Python's own that run in some folders, the same on a busy machine as on an idle one.

    Args:
        *modules: Modules or classes; what lies in the folders of their files is counted.
    """

    def __init__(self, *modules: Any) -> None:
        self._folders = tuple(str(Path(inspect.getfile(module)).parent) for module in modules)
        self._before: Any = None
        self.count = 0

    def begin(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._trace)

    def end(self) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._folders):
            return None
        frame.f_trace_opcodes = True
        self.count += event == "opcode"
        return self._trace


class AdapterContract:
    """Inherit from it in a test module, in a class whose name begins with ``Test``, and write ``callback`` and ``train``.

    pytest then runs every method below through the framework itself. A GPU of 100 W and a clock stand in for hardware and time;
    an epoch is 4 training steps of 1 s, so that each has 400 J.

    Example:
        >>> class TestMine(AdapterContract):
        ...     def callback(self, **options):
        ...         return MyCallback(**options)
        ...     def train(self, callback, epochs, step):
        ...         model = MyModel(seed=1, each_step=step)
        ...         model.fit(epochs=epochs, callbacks=[callback] if callback else [])
        ...         return model.weights
    """

    def callback(self, **options: Any) -> Any:
        """A new callback of the adapter with these options."""
        raise NotImplementedError

    def train(self, callback: Any | None, epochs: int, step: Step) -> list[float]:
        """Train a small model from a fixed seed for so many epochs of 4 steps.

        Args:
            callback: What ``callback`` made, or None to train without.
            epochs: How many.
            step: Called once in every training step; what it raises leaves the framework as any error of a model does.

        Returns:
            The weights at the end.
        """
        raise NotImplementedError

    # ---- what the tests need

    def setup_method(self) -> None:
        """Before each test, called by pytest."""
        self.clock = FakeClock()
        self.gpu = ScriptedCounter(self.clock, watts=WATTS)

    def measured(self, **options: Any) -> Any:
        """A callback that reads the scripted GPU."""
        return measuring(self.callback(**{"ledger": "off", "region": "FR", **options}), [self.gpu], self.clock)

    def step(self) -> None:
        self.clock.advance(STEP_S)

    def ended(self, callback: Any) -> Footprint:
        """The record of its last fit."""
        footprint = callback.footprint
        assert isinstance(footprint, Footprint), "callback.footprint is the record of the last fit"
        return footprint

    # ---- the contract

    def test_each_epoch_has_its_own_joules(self) -> None:
        callback = self.measured()
        self.train(callback, 3, self.step)
        footprint = self.ended(callback)
        assert [epoch.energy_j for epoch in footprint.epochs] == [EPOCH_J] * 3
        assert [epoch.index for epoch in footprint.epochs] == [0, 1, 2]
        assert all(epoch.complete for epoch in footprint.epochs)
        assert footprint.status == "completed"

    def test_epochs_parts_and_phases_sum_to_the_run(self) -> None:
        callback = self.measured()
        self.train(callback, 2, self.step)
        footprint = self.ended(callback)
        epochs = math.fsum([*(epoch.energy_j or 0.0 for epoch in footprint.epochs), footprint.outside_epochs_j or 0.0])
        for total in (epochs, math.fsum(footprint.by_part.values()), math.fsum(footprint.phases.values())):
            assert math.isclose(total, footprint.energy_j or 0.0, abs_tol=1e-6)

    def test_nothing_is_read_before_training(self) -> None:
        callback = self.measured()
        assert (self.gpu.reads, callback.footprint) == (0, None)

    def test_training_ends_before_its_budget_is_overrun(self) -> None:
        callback = self.measured(budget="1 kJ")
        self.train(callback, 10, self.step)
        footprint = self.ended(callback)
        assert footprint.status == "stopped"
        assert footprint.stop_reason is not None
        assert footprint.stop_reason["code"] == "budget"
        assert 0.0 < (footprint.energy_j or 0.0) <= 1000.0

    def test_the_weights_are_those_of_training_without_it(self) -> None:
        assert self.train(self.measured(), 2, self.step) == self.train(None, 2, self.step)

    def test_a_sensor_that_fails_costs_coverage_and_nothing_else(self) -> None:
        callback, steps = self.measured(), iter(range(STEPS * 3))

        def failing() -> None:
            self.gpu.fails = next(steps) >= STEPS
            self.step()

        assert self.train(callback, 3, failing) == self.train(None, 3, self.step)
        assert len(self.ended(callback).epochs) == 3

    def test_an_error_in_training_leaves_as_it_came_and_is_recorded(self) -> None:
        callback, steps = self.measured(), iter(range(STEPS * 3))

        def breaking() -> None:
            self.step()
            if next(steps) == STEPS + 1:
                raise ZeroDivisionError("of the model")

        try:
            self.train(callback, 3, breaking)
        except ZeroDivisionError as error:
            left = str(error)
        else:
            left = "nothing"
        assert left == "of the model"
        assert self.ended(callback).status in ("failed", "running")
        assert len([epoch for epoch in self.ended(callback).epochs if epoch.complete]) == 1

    def test_between_steps_at_which_nothing_is_due_next_to_no_python_runs(self) -> None:
        callback, steps = self.measured(), iter(range(STEPS))
        ours = Bytecodes(Tracker, type(callback))

        def watched() -> None:
            index = next(steps)
            if index == STEPS - 1:
                ours.end()
            self.step()
            if index == STEPS - 2:
                ours.begin()

        self.train(callback, 1, watched)
        assert ours.count <= MOST_BYTECODES, f"{ours.count} operations of Python between two steps"

    def test_one_object_serves_many_fits(self) -> None:
        callback = self.measured()
        for _ in range(2):
            self.train(callback, 1, self.step)
        assert [len(footprint.epochs) for footprint in callback.footprints] == [1, 1]
        assert len({footprint.run_id for footprint in callback.footprints}) == 2

    def test_it_can_be_pickled_and_copied_before_it_starts(self) -> None:
        callback = self.callback(ledger="off", region="FR", budget="1 kJ")
        for again in (pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback)):
            assert type(again) is type(callback)
            assert again.footprint is None

    def test_misuse_is_refused_at_construction(self) -> None:
        for options in ({"budget": "250"}, {"region": "Frnace"}, {"pue": 0.3}):
            try:
                self.callback(**options)
            except ConfigError:
                continue
            raise AssertionError(f"{options} was not refused")

    def test_switched_off_it_measures_and_writes_nothing(self) -> None:
        before, off = sorted(Path.cwd().rglob("fitprint*")), {"FITPRINT_DISABLE": "1"}
        callback = measuring(self.callback(ledger="fitprint.db", region="FR"), [self.gpu], self.clock, off)
        weights = self.train(callback, 1, self.step)
        assert self.gpu.reads == 0
        assert sorted(Path.cwd().rglob("fitprint*")) == before
        assert weights == self.train(None, 1, self.step)
