"""What a run was made from: hyperparameters, seed, commit; plain, bounded, and nothing secret."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint import Footprint, Ledger, Tracker
from fitprint.footprint import continued
from fitprint.ledger.journal import journals
from fitprint.provenance import LONGEST_TEXT, MOST_HPARAMS, Provenance, git_commit, plain_hparams
from fitprint.sensors.probe import Surroundings
from fitprint.testing import ScriptedCounter

LEDGER = Path("runs") / "fitprint.db"
HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def tracker(clock):
    gpu = ScriptedCounter(clock, watts=100.0)
    return lambda **options: Tracker(
        **{"region": "FR", "ledger": str(LEDGER), **options}, counters=[gpu], around=Surroundings(clock=clock, environ={})
    )


# ---- hyperparameters


def test_a_run_keeps_what_it_was_made_from_in_record_ledger_and_json(tracker):
    with tracker().describe(hparams={"lr": 0.1}, seed=7) as t:
        list(t.epochs(range(1)))
    kept = Ledger(LEDGER).footprint(t.footprint.run_id)
    for footprint in (t.footprint, kept, Footprint.from_json(kept.to_json())):
        assert (footprint.hparams, footprint.seed) == ({"lr": 0.1}, 7)


def test_what_is_said_while_the_run_lasts_is_added(tracker):
    with tracker() as t:
        t.describe(hparams={"lr": 0.1, "width": 64}, seed=1)
        t.describe(hparams={"lr": 0.2})
    assert (t.footprint.hparams, t.footprint.seed) == ({"lr": 0.2, "width": 64}, 1)


def test_a_run_that_is_killed_has_left_its_hyperparameters(tracker, clock):
    t = tracker().start()
    for index in t.epochs(range(2)):
        clock.advance(1.0)
        t.describe(hparams={"lr": 0.1 * (index + 1)})
    t._guard.run._recorder.close()  # nothing was said of an end
    LEDGER.unlink()
    assert Ledger(LEDGER).footprint(t.footprint.run_id).hparams == {"lr": 0.2}


def test_an_epoch_line_of_the_journal_does_not_repeat_them(tracker):
    with tracker().describe(hparams={"lr": 0.1}) as t:
        list(t.epochs(range(3)))
    events = [json.loads(line) for line in journals(LEDGER)[0].read_text().splitlines()]
    saying = [event["event"] for event in events if "hparams" in event.get("run", {})]
    assert saying == ["start", "end"]


def test_a_resumed_run_keeps_what_is_not_said_again():
    before = Footprint(run_id="a", hparams={"lr": 0.1, "width": 64}, seed=1, git_commit=HASH)
    joined = continued(before, Footprint(run_id="a", hparams={"lr": 0.2}))
    assert (joined.hparams, joined.seed, joined.git_commit) == ({"lr": 0.2, "width": 64}, 1, HASH)


@dataclass
class Options:
    lr: float
    model: object


def test_namespaces_and_dataclasses_are_read_like_mappings():
    assert plain_hparams(Namespace(lr=0.1, optimizer=Namespace(name="sgd"))) == {"lr": 0.1, "optimizer/name": "sgd"}
    assert plain_hparams(Options(0.1, object())) == {"lr": 0.1}


def test_numbers_of_numpy_become_plain_and_lists_become_text():
    hparams = {"a": np.float32(0.5), "b": np.int64(3), "c": (0.9, 0.999), "d": None, "e": True, "f": float("inf")}
    assert plain_hparams(hparams) == {"a": 0.5, "b": 3, "c": "[0.9, 0.999]", "d": None, "e": True, "f": "inf"}


@pytest.mark.parametrize(
    "name",
    ["password", "api_key", "apiKey", "OPENAI_API_KEY", "hf_token", "token", "authToken", "aws_secret_access_key", "db.passwd"],
)
def test_what_is_named_like_a_secret_is_left_out(name):
    assert plain_hparams({name: "abc", "lr": 0.1, "nested": {name: "abc"}}) == {"lr": 0.1}


@pytest.mark.parametrize("name", ["max_tokens", "num_keys", "key_dim", "tokenizer", "author_count", "vocab_tokens"])
def test_hyperparameters_that_only_sound_like_secrets_stay(name):
    assert plain_hparams({name: 512}) == {name: 512}


@pytest.mark.parametrize("text", ["hf_abcdefgh", "sk-abcdef", "ghp_abcdef", "AKIAABCDEF", "-----BEGIN KEY"])
def test_a_key_under_an_innocent_name_is_left_out(text):
    assert plain_hparams({"note": text}) == {}


@pytest.mark.parametrize("text", ["/home/ada/data", "~/data", r"C:\data", "s3://bucket/ada", "tcp://node7:23456", Path("data")])
def test_folders_and_addresses_are_left_out(text):
    assert plain_hparams({"data": text, "model": "google/bert"}) == {"model": "google/bert"}


def test_hyperparameters_that_cannot_be_read_cost_one_line_and_no_training(tracker, caplog):
    class Broken(dict):
        def items(self):
            raise RuntimeError("no")

    with tracker() as t:
        t.describe(hparams=Broken(lr=1), seed=3)
    assert "hyperparameters cannot be read" in caplog.text
    assert (t.footprint.hparams, t.footprint.seed, t.footprint.status) == (None, 3, "completed")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(object()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), anything, max_size=20))
def test_whatever_comes_what_is_kept_is_json_of_bounded_size(hparams):
    kept = plain_hparams(hparams)
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept
    assert all(isinstance(value, bool | int | float | str | None) for value in kept.values())
    assert all(len(name) <= LONGEST_TEXT + 100 and len(str(value)) <= LONGEST_TEXT for name, value in kept.items())


def test_at_most_so_many_are_kept_however_often_one_is_told():
    told = Provenance()
    for start in range(0, 1000, 100):
        told = told.described({f"p{i}": i for i in range(start, start + 100)})
    assert len(told.hparams) == MOST_HPARAMS


@pytest.mark.parametrize("seed", [None, True, 1.5, "7"])
def test_only_a_whole_number_is_a_seed(seed):
    assert Provenance(seed=3).described(seed=seed).seed == 3


# ---- the commit


def git(folder, *words):
    settings = ("user.name=a", "user.email=a@example.org", "init.defaultBranch=main", "protocol.file.allow=always")
    given = [word for setting in settings for word in ("-c", setting)]
    out = subprocess.run(["git", *given, *words], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return out.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def test_the_commit_of_a_folder_deep_inside_is_found(repository):
    inside = repository / "a" / "b"
    inside.mkdir(parents=True)
    assert git_commit(inside) == git(repository, "rev-parse", "HEAD")


def test_a_packed_and_a_detached_head_are_found(repository):
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert git_commit(repository) == head
    git(repository, "checkout", "-q", "--detach")
    assert git_commit(repository) == head


def test_a_branch_whose_name_ends_like_another_is_not_taken_for_it(repository):
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "-b", "x/main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    git(repository, "pack-refs", "--all")
    assert git_commit(repository) != first
    git(repository, "checkout", "-q", "main")
    assert git_commit(repository) == first


@pytest.mark.parametrize("packed", [False, True])
def test_a_worktree_has_its_own_head_and_its_repositorys_branches(repository, tmp_path, packed):
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "other"))
    git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "second")
    if packed:
        git(repository, "pack-refs", "--all")
    assert git_commit(tmp_path / "other") == git(tmp_path / "other", "rev-parse", "HEAD") != git_commit(repository)


def test_a_submodule_has_its_own_commit(repository, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "add", "-q", str(repository), "inner")
    assert git_commit(outer / "inner") == git(repository, "rev-parse", "HEAD")


def test_before_the_first_commit_and_outside_there_is_none(tmp_path):
    git(tmp_path, "init", "-q", "new")
    assert git_commit(tmp_path / "new") is None
    assert git_commit(tmp_path) is None


@pytest.mark.parametrize("content", ["", "gitdir: nowhere", "gitdir: /no/such/place", "garbage \0"])
def test_a_mark_that_leads_nowhere_costs_nothing(tmp_path, content):
    (tmp_path / ".git").write_text(content)
    assert git_commit(tmp_path) is None


def test_a_run_of_a_program_outside_the_working_folder_has_the_programs_commit(repository, tmp_path):
    (repository / "train.py").write_text(
        "from fitprint import Tracker\nwith Tracker(ledger='off') as t: pass\nprint(t.footprint.git_commit)"
    )
    out = subprocess.run([sys.executable, repository / "train.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == git(repository, "rev-parse", "HEAD")
