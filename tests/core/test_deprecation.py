"""What will go says so at the user's own line, and does its work until then."""

from __future__ import annotations

import pytest

from fitprint.deprecation import deprecated, warn_deprecated

WHEN = {"since": "0.3", "gone_in": "0.4", "instead": "new()"}


def test_a_deprecated_function_warns_where_it_is_called_and_works():
    @deprecated("old()", **WHEN)
    def old(a, *, b):
        """Add."""
        return a + b

    with pytest.warns(
        DeprecationWarning, match=r"old\(\) is deprecated since fitprint 0\.3 .* gone in 0\.4\. Write new\(\)"
    ) as caught:
        assert old(1, b=2) == 3
    assert caught[0].filename == __file__
    assert (old.__name__, old.__doc__) == ("old", "Add.")


def test_a_value_that_is_deprecated_warns_at_the_callers_line():
    def option():
        warn_deprecated("sync='old'", **WHEN)

    with pytest.warns(DeprecationWarning, match="sync='old' is deprecated") as caught:
        option()
    assert caught[0].filename == __file__
