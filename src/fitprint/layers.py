"""Options from outside the program: FITPRINT_*, [tool.fitprint] in pyproject.toml, the user's file.

What is wrong there is warned about and ignored: it was written for other runs as well, and stops none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fitprint.errors import ConfigError, MissingExtraError, did_you_mean
from fitprint.near_misses import warn_of_near_misses
from fitprint.notices import warn
from fitprint.options import CHECKS, PARSERS


def outside(environ: Mapping[str, str], folder: Path | None, say: Callable[..., None]) -> list[tuple[str, dict[str, Any]]]:
    """The layers below the program's own arguments, each by its name; a later one wins.

    Args:
        environ: The process environment.
        folder: Where the search for pyproject.toml begins; the working folder by default.
        say: Takes what is wrong.
    """
    project, user = _project_file(folder), _user_file()
    return [
        ("user file", checked(_read_toml(user, say), str(user), say)),
        ("pyproject.toml", checked(_table(_read_toml(project, say), say, "tool", "fitprint"), str(project), say)),
        ("environment", _from_environment(environ, say)),
    ]


def _from_environment(environ: Mapping[str, str], say: Callable[..., None]) -> dict[str, Any]:
    warn_of_near_misses(environ, CHECKS, say)
    fields = {name: environ.get(f"FITPRINT_{name.upper()}", "") for name in CHECKS}
    return checked({name: _parsed(name, text) for name, text in fields.items() if text.strip()}, "the environment", say)


def _parsed(name: str, text: str) -> Any:
    """A value from text; what cannot be parsed stays text and is refused by its check."""
    try:
        return PARSERS[name](text) if name in PARSERS else text.strip()
    except ValueError:
        return text


def checked(fields: Mapping[str, Any], where: str, say: Callable[..., None] = warn) -> dict[str, Any]:
    """The good fields; a bad one is warned about and ignored.

    Args:
        fields: Options by name.
        where: They stand, in words.
        say: Takes what is wrong.
    """
    good: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            if name not in CHECKS:
                guess = did_you_mean(name, CHECKS)
                raise ConfigError(f"unknown option {name!r}.{f' Did you mean {guess!r}?' if guess else ''}")
            good[name] = CHECKS[name](value)
        except (ConfigError, MissingExtraError, TypeError, ValueError) as error:
            say("ignored a setting in %s: %s", where, error)
    return good


def _table(data: dict[str, Any], say: Callable[..., None], *names: str) -> dict[str, Any]:
    """A table inside a TOML document; empty where something else stands in its place."""
    for name in names:
        inner = data.get(name, {})
        if not isinstance(inner, dict):
            say("ignored %s = %r: expected a table", name, inner)
            return {}
        data = inner
    return data


def _project_file(folder: Path | None) -> Path:
    """The nearest pyproject.toml. The working folder may be gone, and folders above it closed to this user."""
    try:
        folder = folder or Path.cwd()
    except OSError:
        return Path("pyproject.toml")
    candidates = [parent / "pyproject.toml" for parent in (folder, *folder.parents)]
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])  # noqa: PTH113 - Path's raises if denied


def _user_file() -> Path:
    from platformdirs import user_config_path

    return user_config_path("fitprint", appauthor=False) / "config.toml"


def _read_toml(path: Path, say: Callable[..., None]) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        say("ignored %s: %s", path, error)
        return {}
