"""What a run was made from: hyperparameters, seed and commit, in plain types of bounded size."""

from __future__ import annotations

import math
import numbers
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fitprint.notices import logger

MOST_HPARAMS = 200
LONGEST_TEXT = 200
DEEPEST = 4
# Words in a name behind which something secret may stand, whatever its type.
SECRET_NAME = (
    r"(^|_)(password|passwd|passphrase|pwd|secrets?|credentials?|auth|apikey|bearer"
    r"|(api|access|private|ssh|signing|encryption|account|license)_keys?)(_|$)"
)
# How keys of well-known services begin, under whatever name they are kept.
SECRET_TEXT = r"(hf_|sk-|gh[opsu]_|github_pat_|glpat-|xox[abp]-|AKIA|eyJ|-----BEGIN)"
# Folders and addresses name people and machines: they are left out.
PLACE_TEXT = r"(/|~|\\\\|[A-Za-z]:[\\/])|.*://"
COMMIT = r"[0-9a-f]{40}([0-9a-f]{24})?"


class Provenance(NamedTuple):
    """What a run was made from, as far as it is known.

    Attributes:
        hparams: Hyperparameters: names to numbers, switches, texts or None.
        seed: Of the random numbers, where the user set one.
        git_commit: Of the working folder; changes that are not committed are not seen.
    """

    hparams: Mapping[str, Any] | None = None
    seed: int | None = None
    git_commit: str | None = None

    def described(self, hparams: object = None, seed: object = None, git_commit: object = None) -> Provenance:
        """A copy with further hyperparameters, and a seed and a commit where they are given.

        Args:
            hparams: A mapping, or an object whose attributes they are. What can be kept of them is; a name
                that is known already gets the new value.
            seed: A whole number; anything else is left out.
            git_commit: A full hash; anything else is left out.
        """
        try:
            merged = {**(self.hparams or {}), **plain_hparams(hparams)}
        except Exception:  # whatever an object of the user's answers
            logger().warning("the hyperparameters cannot be read; the run is recorded without them", exc_info=True)
            merged = dict(self.hparams or {})
        whole = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
        return Provenance(
            hparams=_bounded(merged) or None,
            seed=int(seed) if whole else self.seed,  # type: ignore[call-overload]
            git_commit=git_commit if isinstance(git_commit, str) and re.fullmatch(COMMIT, git_commit) else self.git_commit,
        )


def plain_hparams(hparams: object) -> dict[str, Any]:
    """What of hyperparameters can be kept: plain scalars, at most ``MOST_HPARAMS``; never objects, secrets or folders.

    Mappings, dataclasses and namespaces are flattened with ``/``; a list of scalars becomes its text.

    Example:
        >>> plain_hparams({"lr": 0.1, "optimizer": {"name": "sgd"}, "widths": [64, 32], "api_key": "x", "model": object()})
        {'lr': 0.1, 'optimizer/name': 'sgd', 'widths': '[64, 32]'}
    """
    return _bounded(dict(_scalars(_named(hparams) or getattr(hparams, "__dict__", {}), "", DEEPEST)))


def _bounded(hparams: dict[str, Any]) -> dict[str, Any]:
    return dict(list(hparams.items())[:MOST_HPARAMS])


def _named(value: object) -> Mapping[str, Any] | None:
    """The names and values that something consists of, or None."""
    if isinstance(value, Mapping):
        return value
    # Who has a namespace has the module; importing it for all others would take milliseconds.
    namespace = getattr(sys.modules.get("argparse"), "Namespace", ())
    return vars(value) if isinstance(value, namespace) or (is_dataclass(value) and hasattr(value, "__dict__")) else None


def _scalars(hparams: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in hparams.items():
        name = f"{prefix}{key}"[:LONGEST_TEXT]
        if str(key).startswith("_") or _is_secret(str(key), value):
            continue
        inner = _named(value)
        if inner is not None:
            yield from _scalars(inner, f"{name}/", depth - 1) if depth > 1 else ()
        elif value is None or _scalar(value) is not None:
            yield name, _scalar(value)


def _scalar(value: object) -> bool | int | float | str | None:
    """The value in a type that JSON knows, or None where it has none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value) if abs(int(value)) < 2**63 else None
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        text = str.__str__(value)  # of an enumeration, its value
        return None if re.match(PLACE_TEXT, text) or re.match(SECRET_TEXT, text) else text[:LONGEST_TEXT]
    if isinstance(value, list | tuple) and len(value) <= MOST_HPARAMS:
        items = [_scalar(item) for item in value]
        return None if None in items or any(isinstance(item, list | tuple) for item in value) else str(items)[:LONGEST_TEXT]
    return None


def _is_secret(name: str, value: object) -> bool:
    """Whether a name looks like that of a password, a key or a token. ``max_tokens=512`` is none."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).casefold()
    snake = re.sub(r"[^a-z0-9]+", "_", snake)
    token = not isinstance(value, numbers.Number) and snake.rpartition("_")[2] in ("token", "tokens")
    return token or re.search(SECRET_NAME, snake) is not None


# ---- the commit


def git_commit(folder: Path | None = None) -> str | None:
    """The commit that is checked out, read from ``.git`` without a subprocess.

    Args:
        folder: Inside the repository. By default the working folder, and where that is in none,
            the folder of the program.

    Returns:
        The hash in hexadecimal, or None outside of a repository and before its first commit.
    """
    try:
        return next(filter(None, map(_commit_at, [folder] if folder else _own_folders())), None)
    except (OSError, RuntimeError):
        return None


def _own_folders() -> list[Path]:
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = [Path.cwd()]
    # A launcher that is installed in an environment inside some repository says nothing about the code.
    if program and not {"site-packages", "dist-packages", "bin"} & set(Path(program).parts):
        folders.append(Path(program).absolute().parent)
    return folders


def _commit_at(folder: Path) -> str | None:
    marks = (parent / ".git" for parent in (folder, *folder.parents))
    mark = next((mark for mark in marks if mark.exists()), None)
    if mark is None:
        return None
    own = mark if mark.is_dir() else mark.parent / _text(mark).removeprefix("gitdir:").strip()
    common = own / (_text(own / "commondir") or ".")
    head = _text(own / "HEAD")
    if head.startswith("ref:"):
        ref = head.removeprefix("ref:").strip()
        head = _text(own / ref) or _text(common / ref) or _packed(common / "packed-refs", ref)
    return head if re.fullmatch(COMMIT, head) else None


def _packed(path: Path, ref: str) -> str:
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return next((line.partition(" ")[0] for line in lines if line.rstrip("\n").endswith(f" {ref}")), "")


def _text(path: Path) -> str:
    """A small file's text; empty where there is none."""
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
