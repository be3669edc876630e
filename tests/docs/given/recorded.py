"""Runs on record: `ID` of the project `llm-sweep` here, the demo's in the folder `fitprint_demo`; a script; a model card."""

from pathlib import Path

from fitprint import Tracker

Path("train.py").write_text("print(sum(range(1000)))\n")
Path("README.md").write_text("---\nlicense: mit\n---\n# M\n")
Path("fitprint_demo").mkdir(exist_ok=True)
runs = [("ID", "llm-sweep", "fitprint.db"), ("RUN", "llm-sweep", "fitprint.db")]
runs += [("2026-1", "demo", "fitprint.db"), ("2026-2", "demo", "fitprint.db"), ("demo-1", "demo", "fitprint_demo/fitprint.db")]
for width, (run_id, project, ledger) in enumerate(runs):
    with Tracker(run_id=run_id, project=project, region="PL", ledger=ledger) as recorded:
        recorded.describe(hparams={"width": width})
        for _ in recorded.epochs(range(3)):
            recorded.annotate({"val_acc": sum(range(100_000)) and 0.9})
