"""The oldest and the newest frameworks that are supported, on each Python; not part of CI.

``nox -s oldest newest`` runs all that the Pythons found here allow, ``nox -s "oldest-3.11(framework='keras')"`` one.
torch is the version of ``constraints.txt``, from the index that ``TORCH_INDEX`` names, for example one with CPU builds;
``KERAS_BACKEND`` is Keras's, torch by default: with ``jax`` or ``tensorflow`` nothing of torch is installed for it.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

PINNED = dict(line.split("==") for line in Path("constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line)
TORCH = f"torch=={PINNED['torch']}"
BACKEND = os.environ.get("KERAS_BACKEND", "torch")
NEEDS = {
    "lightning": TORCH,
    "keras": {"torch": TORCH, "jax": "jax", "tensorflow": "tensorflow-cpu"}[BACKEND],
    "transformers": TORCH,
    "tensorboard": None,
}
OLDEST = {
    "lightning": ("lightning==2.4.0", "pytorch-lightning==2.4.0", "jsonargparse[signatures]"),
    "keras": ("keras==3.5.0",),
    "transformers": ("transformers==4.46.0", "accelerate==1.1.0"),
    "tensorboard": (),
}
# These work with numpy 1; TensorBoard 2.15 looks for pkg_resources, which later setuptools do not have, and Keras 3.5 for
# what later JAX does not.
OF_THEIR_TIME = ("numpy<2", "setuptools<81", "tensorboard==2.15.0", *(["jax<0.5"] if BACKEND == "jax" else []))
# torch reads nothing but weights since 2.6, unless it is told to; the Trainer before that resumes from more.
OLD_RESUME = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
NEWEST = {
    "lightning": ("lightning", "pytorch-lightning", "jsonargparse[signatures]"),
    "keras": ("keras",),
    "transformers": ("transformers", "accelerate"),
    "tensorboard": (),
}
TESTS = ("pytest", "pytest-timeout", "hypothesis", "httpx", "jinja2", "tensorboard")


def _run(session: nox.Session, framework: str, *packages: str, **env: str) -> None:
    needs = NEEDS[framework]
    index = ("--index-url", os.environ["TORCH_INDEX"]) if needs == TORCH and "TORCH_INDEX" in os.environ else ()
    if needs:
        session.install(needs, *index)
    session.install(".", *((needs,) if needs else ()), *TESTS, *packages)
    session.run("python", "-m", "pip", "freeze", "--exclude", "fitprint")
    session.run("pytest", "-q", f"tests/{framework}", *session.posargs, env={"KERAS_BACKEND": BACKEND, **env})


@nox.session(python=["3.11", "3.12"])
@nox.parametrize("framework", list(OLDEST))
def oldest(session: nox.Session, framework: str) -> None:
    """The lowest versions that pyproject.toml allows."""
    _run(session, framework, *OF_THEIR_TIME, *OLDEST[framework], **OLD_RESUME)


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("framework", list(NEWEST))
def newest(session: nox.Session, framework: str) -> None:
    """What the package index has today."""
    _run(session, framework, *NEWEST[framework])
