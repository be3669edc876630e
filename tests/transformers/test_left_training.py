"""A training that an exception leaves, and what the program does afterwards: the Trainer tells callbacks of neither."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from fitprint import Budget, leaving
from transformers import TrainerCallback

EPOCH_J = 4 * 100 + 2 * 50  # four steps of 1 s and two evaluation batches of 0.5 s at 100 W


class Fails(TrainerCallback):
    """Raises in a hook."""

    def __init__(self, error, hook="on_step_end", step=6):
        self.error, self.step = error, step
        setattr(self, hook, self.fail)

    def fail(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise self.error


@pytest.fixture
def breaks(clock):
    """Has a Trainer's method raise, half a second after it was called so many times."""

    def put(trainer, error, name="training_step", after=5):
        class Broken(type(trainer)):
            calls = 0

        def broken(self, *args, **kwargs):
            self.calls += 1
            if self.calls > after:
                clock.advance(0.5)
                raise error
            return getattr(super(Broken, self), name)(*args, **kwargs)

        setattr(Broken, name, broken)
        trainer.__class__ = Broken
        return trainer

    return put


def given(trainer, callback, how, **options):
    if how == "callbacks":
        return trainer(callback, **options)
    made = trainer(**options)
    made.add_callback(callback)
    return made


@pytest.mark.parametrize("how", ["callbacks", "add_callback"])
@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "interrupted"), (ValueError("loss"), "failed")])
def test_a_training_whose_exception_is_caught_ends_at_that_moment(carbon, trainer, breaks, clock, how, error, status):
    callback = carbon()
    made = breaks(given(trainer, callback, how), error)
    with pytest.raises(type(error)):
        made.train()
    clock.advance(3600.0)
    f = callback.footprint
    assert f.status == status
    assert f.energy_j == EPOCH_J + 100 + 50  # an epoch, a step, and half a second of the one that raised
    assert [epoch.complete for epoch in f.epochs] == [True, False]
    assert callback.footprints == [f]


@pytest.mark.parametrize(("name", "joules"), [("get_batch_samples", EPOCH_J + 150), ("evaluate", 400 + 50)])
def test_what_raises_beside_the_steps_ends_it_as_well(carbon, trainer, breaks, clock, name, joules):
    callback = carbon()
    made = breaks(trainer(callback), ValueError("mine"), name, after=5 if name == "get_batch_samples" else 0)
    with pytest.raises(ValueError, match="mine"):
        made.train()
    clock.advance(3600.0)
    assert (callback.footprint.status, callback.footprint.energy_j) == ("failed", joules)


def test_where_a_callback_raises_it_ends_at_its_last_event(carbon, trainer, clock):
    callback = carbon(budget=Budget("1 kWh", check=1))
    made = trainer(callback, Fails(ZeroDivisionError("mine")))
    with pytest.raises(ZeroDivisionError, match="mine"):
        made.train()
    clock.advance(3600.0)
    assert (callback.footprint.status, callback.footprint.energy_j) == ("failed", EPOCH_J + 200)


def test_the_exception_that_is_being_handled_says_how_it_ended(carbon, trainer, clock):
    callback = carbon()
    made = trainer(callback, Fails(KeyboardInterrupt()))
    try:
        made.train()
    except KeyboardInterrupt:
        made.evaluate()
    assert callback.footprint.status == "interrupted"
    assert callback.footprint.energy_j == EPOCH_J


def test_an_evaluation_or_prediction_afterwards_is_not_its_own(carbon, trainer, breaks, data):
    callback = carbon()
    made = breaks(trainer(callback), ValueError("kept"))
    with pytest.raises(ValueError, match="kept") as kept:
        made.train()
    made.evaluate()
    made.predict(data["eval_dataset"])
    (f,) = callback.footprints
    assert kept.value
    assert f.energy_j == EPOCH_J + 150
    assert "eval_loss" not in f.epochs[-1].metrics


def test_the_next_training_ends_it_first(carbon, trainer, breaks, clock):
    first, again = carbon(), carbon()
    made = breaks(trainer(first), ValueError("mine"))
    with pytest.raises(ValueError, match="mine"):
        made.train()
    clock.advance(3600.0)
    seen = []

    class Looks(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            seen.extend((f.status, f.energy_j) for f in first.series.footprints)

    trainer(again, Looks(), num_train_epochs=1).train()
    assert seen == [("failed", EPOCH_J + 150)]
    assert (again.footprint.status, again.footprint.energy_j) == ("completed", EPOCH_J)


def test_the_same_trainer_trains_again_as_another_run(carbon, trainer, breaks, clock):
    callback = carbon()
    made = breaks(trainer(callback, num_train_epochs=2), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        made.train()
    clock.advance(3600.0)
    made.calls = -100
    made.train()
    assert [(f.status, f.energy_j) for f in callback.footprints] == [("interrupted", EPOCH_J + 150), ("completed", 2 * EPOCH_J)]


def test_a_trainer_that_goes_on_after_an_exception_of_a_step_is_measured_to_its_end(carbon, trainer, breaks):
    class Tolerant(TrainerCallback):
        """Its Trainer is one that catches what a step raises."""

        def on_train_begin(self, args, state, control, **kwargs):
            step = made.training_step

            def tolerant(*args):
                try:
                    return step(*args)
                except ValueError:
                    made.calls = -100
                    return step(*args)

            made.training_step = tolerant

    callback = carbon()
    made = breaks(trainer(callback, Tolerant()), ValueError("mine"))
    made.train()
    assert callback.footprint.status == "completed"
    assert [epoch.energy_j for epoch in callback.footprint.epochs] == [EPOCH_J, EPOCH_J + 50, EPOCH_J]


@pytest.mark.parametrize("attach", [False, True])
def test_batches_that_are_too_large_are_part_of_the_run_that_finds_smaller_ones(carbon, trainer, breaks, attach):
    """auto_find_batch_size catches the exception and begins the same training again."""
    error = RuntimeError("CUDA out of memory.")
    callback = carbon(budget=Budget("1 kWh", check=1))
    made = breaks(trainer(callback, attach=attach, auto_find_batch_size=True, num_train_epochs=2), error)
    losing = made.training_step

    def once(*args):
        try:
            return losing(*args)
        except RuntimeError:
            made.calls = -100
            raise

    made.training_step = once
    made.train()
    (f,) = callback.footprints
    assert f.status == "completed"
    assert [(epoch.index, epoch.complete) for epoch in f.epochs] == [(0, True), (1, False), (0, True), (1, True)]
    assert [epoch.energy_j for epoch in f.epochs[:2]] == [EPOCH_J, 150]
    assert f.energy_j == sum(epoch.energy_j for epoch in f.epochs)
    assert f.batch_size == 1
    assert (f.flops is not None) is attach


def test_no_trainer_is_kept_in_memory_and_none_is_changed_once_it_is_over(carbon, trainer, breaks):
    callback = carbon()
    made = breaks(trainer(callback), ValueError("mine"))
    methods = set(vars(made))
    with pytest.raises(ValueError, match="mine"):
        made.train()
    assert callback.footprint.status == "failed"
    assert not {"training_step", "evaluate", "get_batch_samples"} & (set(vars(made)) - methods)
    left = carbon()
    other = breaks(trainer(left), ValueError)  # an instance would hold its frames
    with pytest.raises(ValueError):  # noqa: PT011
        other.train()
    gone = weakref.ref(other)
    gc.disable()
    try:
        del other
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.timeout(60)
def test_a_training_in_another_thread_goes_on(carbon, trainer):
    begun, over = threading.Event(), threading.Event()

    class Waiting(TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            begun.set()
            over.wait(30)

    callback = carbon()
    other = threading.Thread(target=trainer(callback, Waiting(), num_train_epochs=1).train)
    other.start()
    begun.wait(30)
    assert callback.footprint.status == "running"
    over.set()
    other.join()
    assert callback.footprint.status == "completed"


def test_at_the_end_of_the_program_a_training_whose_exception_was_kept_ends_where_it_was_left(carbon, trainer, clock):
    callback = carbon()
    with pytest.raises(KeyboardInterrupt) as kept:
        trainer(callback, Fails(KeyboardInterrupt())).train()
    clock.advance(3600.0)
    leaving._end_at_exit()  # as the interpreter calls it
    (f,) = callback.series.footprints
    assert kept.value
    assert (f.status, f.energy_j) == ("failed", EPOCH_J)
