"""The oldest and the newest frameworks that are supported, on each Python: ``nox -s oldest newest``, not part of CI."""

from __future__ import annotations

import nox

# setuptools: TensorBoard 2.15 looks for pkg_resources.
OLDEST = {
    "lightning": ("lightning==2.4.0", "pytorch-lightning==2.4.0", "jsonargparse[signatures]"),
    "keras": ("keras==3.5.0",),
    "transformers": ("transformers==4.46.0", "accelerate==1.1.0"),
    "tensorboard": ("tensorboard==2.15.0",),
}
NEWEST = {
    "lightning": ("lightning", "pytorch-lightning", "jsonargparse[signatures]"),
    "transformers": ("transformers", "accelerate"),
}
TESTS = ("pytest", "pytest-timeout", "hypothesis", "httpx", "jinja2", "PyYAML", "tensorboard")


def _run(session: nox.Session, framework: str, *packages: str) -> None:
    session.install(".", "torch", *TESTS, *packages)
    session.run("pytest", "-q", f"tests/{framework}", *session.posargs, env={"KERAS_BACKEND": "torch"})


@nox.session(python=["3.11", "3.12"])
@nox.parametrize("framework", list(OLDEST))
def oldest(session: nox.Session, framework: str) -> None:
    """The lowest versions that pyproject.toml allows."""
    _run(session, framework, "numpy<2", "setuptools<81", "tensorboard==2.15.0", *OLDEST[framework])


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("framework", list(OLDEST))
def newest(session: nox.Session, framework: str) -> None:
    """What the package index has today."""
    _run(session, framework, *NEWEST.get(framework, (framework,)))
