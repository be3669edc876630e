"""Ray Train's TorchTrainer on a real local cluster; the host's only sensor is scripted and read once for both workers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import ray.train
from ray.train.torch import TorchTrainer

from fitprint import Config, Ledger
from fitprint.errors import ConfigError
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_ray import WorkerTracker
from fitprint_ray.train import _check_budget

pytestmark = pytest.mark.timeout(240)


def train_loop(config):
    """Both workers see the same CPU of 100 W; each leaves what it did in a file of its own."""
    import torch

    clock = FakeClock()
    cpu = ScriptedCounter(clock, watts=100.0, part="cpu")
    model = ray.train.torch.prepare_model(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
    hardware = {"counters": [cpu], "around": Surroundings(clock=clock, environ={})}
    with WorkerTracker({"lr": config["lr"]}, budget=config["budget"], ledger=config["ledger"], region="FR", **hardware) as tracker:
        for _ in tracker.epochs(range(50)):
            optimizer.zero_grad()
            model(torch.ones(4, 2)).sum().backward()  # reduces the gradients: a worker alone would wait here
            optimizer.step()
            clock.advance(1.0)
            tracker.report({"loss": 1.0})
    rank = ray.train.get_context().get_world_rank()
    energy_j = tracker.footprint.energy_j
    Path(config["out"], f"{rank}.txt").write_text(f"{len(tracker.footprint.epochs)} {energy_j} {tracker.should_stop} {os.getpid()}")


@pytest.fixture(scope="module")
def trained(cluster, tmp_path_factory):
    """A training on two workers that a budget of 1,000 J ends: its last report, and what each worker wrote."""
    folder = tmp_path_factory.mktemp("trained")

    class Keep(ray.train.UserCallback):
        """Lives in a process of Ray's own."""

        def after_report(self, run_context, metrics, checkpoint):
            with open(folder / "reports.jsonl", "a") as file:
                file.write(json.dumps(metrics) + "\n")

    config = {"lr": 0.1, "budget": "1000 J", "ledger": str(folder / "fitprint.db"), "out": str(folder)}
    TorchTrainer(
        train_loop,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        run_config=ray.train.RunConfig(storage_path=str(folder / "ray"), callbacks=[Keep()]),
    ).fit()
    return folder, [json.loads(line) for line in (folder / "reports.jsonl").read_text().splitlines()]


def test_both_workers_stop_after_the_same_epoch(trained):
    _, reports = trained
    assert len(reports) == 9  # of 100 J each; the tenth might not have fitted


def test_what_both_workers_see_is_counted_once(trained):
    folder, _ = trained
    runs = Ledger(folder / "fitprint.db").runs()
    assert [(run["energy_j"], run["status"], run["epochs"]) for run in runs] == [(900.0, "stopped", 9)]
    assert Ledger(folder / "fitprint.db").footprint(runs[0]["run_id"]).hparams == {"lr": 0.1}
    of_workers = [(folder / f"{rank}.txt").read_text().split() for rank in (0, 1)]
    assert [(energy_j, stop) for _, energy_j, stop, _ in of_workers] == [("900.0", "True"), ("900.0", "True")]
    assert of_workers[0][3] != of_workers[1][3]


def test_every_worker_reports_the_sum_over_workers(trained):
    _, reports = trained
    sums = [[worker["energy_wh"] * 3600 for worker in workers] for workers in reports]
    assert sums == [[pytest.approx(100.0 * (epoch + 1))] * 2 for epoch in range(9)]
    assert reports[-1][0]["co2e_g"] == reports[-1][1]["co2e_g"] > 0


def test_on_several_hosts_a_runs_budget_is_refused_for_each_sees_only_its_own():
    _check_budget(Config(budget="1 kg"), many_hosts=False)
    with pytest.raises(ConfigError, match="scope='project'"):
        _check_budget(Config(budget="1 kg"), many_hosts=True)


def test_what_the_page_says_about_train_runs(page, tmp_path):
    page("Ray Train")
    runs = Ledger(tmp_path / "fitprint.db").runs()
    assert [(run["status"], run["epochs"]) for run in runs] == [("completed", 3)]  # two workers, one host, one run
    assert runs[0]["energy_j"] > 0
