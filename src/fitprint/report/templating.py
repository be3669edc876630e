"""Templates: every value is escaped for the format it goes into, unless it is a part of the template itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fitprint.data import shipped
from fitprint.errors import MissingExtraError

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, feature: str, values: dict[str, Any], escape: Callable[[str], str] | None = None) -> str:
    """Fill a template.

    Args:
        template: Name of the file.
        feature: What a missing jinja2 keeps from being made.
        values: What the template reads.
        escape: Makes text harmless in the template's format; by default HTML's autoescaping.

    Raises:
        MissingExtraError: If jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError(feature, "report") from error
    settings = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True, "undefined": jinja2.StrictUndefined}
    loader = jinja2.FunctionLoader(_source)
    if escape is None:
        return str(jinja2.Environment(loader=loader, autoescape=True, **settings).get_template(template).render(values))
    chosen = escape

    def finalize(value: object) -> str:
        return value if isinstance(value, Verbatim) else chosen(str(value))

    return str(jinja2.Environment(loader=loader, finalize=finalize, **settings).get_template(template).render(values))


def _source(template: str) -> str:
    """The text of a template, in a folder or in a zip archive."""
    return shipped(TEMPLATES / template)


class Verbatim(str):
    """Text in the format of the template that is not escaped again."""

    __slots__ = ()
