"""An empty mapping for records, which are read-only."""

from __future__ import annotations

from typing import Any, Self


class Nothing(dict[str, Any]):
    """An empty dictionary that stays so: the records of a million epochs share one."""

    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError("records are read-only")

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("records are read-only")

    def setdefault(self, key: str, default: Any = None) -> Any:
        raise TypeError("records are read-only")

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]  # a dictionary's own takes pairs, too
        raise TypeError("records are read-only")


NOTHING = Nothing()
