"""Lightning inside Ray Train, on a real local cluster; the machine's processor is of known power and both workers see it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import ray.train
from ray.train.torch import TorchTrainer

from fitprint import Ledger
from powered import powered

pytestmark = pytest.mark.timeout(240)


def train_loop(config):
    """Each worker leaves its record and what the counter showed around its fit in a file of its own."""
    os.environ.update(config["environ"])
    import ray.train.lightning as on_ray
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader, TensorDataset

    from fitprint_lightning import CarbonCallback

    class Slow(LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, batch_idx):
            time.sleep(0.03)
            return self.layer(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    def counted_j():
        return int(Path(config["environ"]["FITPRINT_SYS_ROOT"], "class/powercap/intel-rapl:0/energy_uj").read_text()) / 1e6

    carbon = CarbonCallback()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    strategy, environment = on_ray.RayDDPStrategy(), on_ray.RayLightningEnvironment()
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", devices="auto", strategy=strategy, plugins=[environment], callbacks=[carbon], **quiet
    )
    data = DataLoader(TensorDataset(torch.ones(4 * 2 * 10, 4)), batch_size=4)
    before_j = counted_j()
    on_ray.prepare_trainer(trainer).fit(Slow(), data)
    made = carbon.footprint
    told = {
        "record": made.to_dict(),
        "counted_j": (before_j, counted_j()),
        "pid": os.getpid(),
        "logged": float(trainer.callback_metrics["carbon/total_energy_wh"]),
        "runs": len(carbon.footprints),
    }
    Path(config["out"], f"{ray.train.get_context().get_world_rank()}.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def trained(cluster, tmp_path_factory):
    """What both workers wrote, and the ledger."""
    folder = tmp_path_factory.mktemp("trained")
    environ = {
        "FITPRINT_SYS_ROOT": str(folder / "sys"),
        "FITPRINT_ATTRIBUTE": "all",
        "FITPRINT_LEDGER": str(folder / "fitprint.db"),
    }
    with powered({folder / "sys": {"intel-rapl:0": 100.0}}):
        TorchTrainer(
            train_loop,
            train_loop_config={"environ": environ, "out": str(folder)},
            scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
            run_config=ray.train.RunConfig(storage_path=str(folder / "ray")),
        ).fit()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)], Ledger(folder / "fitprint.db")


def test_both_workers_have_one_footprint_which_counts_their_processor_once(trained):
    (first, second), _ = trained
    assert first["pid"] != second["pid"]
    for field in ("run_id", "status", "energy_j", "co2e_g", "sensors", "phases", "outside_epochs_j"):
        assert first["record"][field] == second["record"][field], field
    epochs, others = (of["record"]["epochs"] for of in (first, second))
    assert [epoch["complete"] for epoch in epochs] == [True] * 3
    for name in ("energy_j", "co2e_g", "complete"):
        assert [epoch[name] for epoch in epochs] == [epoch[name] for epoch in others]
    assert first["logged"] == second["logged"] > 0
    assert [sensor["id"] for sensor in first["record"]["sensors"]] == ["cpu:package-0"]
    begun_j, ended_j = zip(first["counted_j"], second["counted_j"], strict=True)
    # Ten steps of 0.03 s in each of three epochs at 100 W.
    assert 3 * 10 * 0.03 * 100.0 <= first["record"]["energy_j"] <= max(ended_j) - min(begun_j)


def test_the_ledger_has_one_run(trained):
    (first, second), ledger = trained
    (row,) = ledger.runs()
    record = first["record"]
    assert (row["run_id"], row["status"], row["epochs"], row["energy_j"]) == (record["run_id"], "completed", 3, record["energy_j"])
    assert (first["runs"], second["runs"]) == (1, 1)
