"""Floating-point operations of training: those of its first batch, watched as it is trained on.

An extra forward pass would change batch norm, dropout and random states, so the first real step is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from fitprint.operations import COMPILED, Operations, compiling, obstacle, watching


class Detour:
    """Another function in the place of an object's own, until it is taken out again.

    Args:
        owner: The object.
        name: Its attribute.
        make: Makes the other function from its own one.
    """

    def __init__(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._owner, self._name = owner, name
        self._before = vars(owner).get(name)
        self._function = make(getattr(owner, name))
        setattr(owner, name, self._function)

    def remove(self) -> None:
        """Put back what was there, unless somebody else has put something there since."""
        if vars(self._owner).get(self._name) is not self._function:
            return
        if self._before is None:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._before)


class FirstStep:
    """Counts the operations of a run's first training step, then takes itself out of the way.

    Attributes:
        why_not: Why nothing is known, or empty.
    """

    def __init__(self) -> None:
        self.why_not = ""
        self._operations = Operations()
        self._begun = self._batches = 0
        self._detour: Detour | None = None

    @property
    def per_batch(self) -> float | None:
        """Operations of a batch; None where they are not known, as after a batch that failed."""
        whole = self._batches and self._batches == self._begun
        return self._operations.total / self._batches if whole and not self.why_not else None

    def watch(self, model: Any, owner: Any, name: str, modules: Mapping[str, Any], *, batches: int = 1) -> None:
        """Count the next calls of ``owner.name``, which trains on one batch.

        Args:
            model: What is trained.
            owner: Has the function; another one stands in its place until the last of these calls.
            name: Its name there.
            modules: Modules that are loaded already (``sys.modules``).
            batches: Batches of an optimizer step.
        """
        mode = self._mode(model, modules)
        if mode is None:
            return

        def counting(step: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any, **kwargs: Any) -> Any:
                if self._begun + 1 >= batches:
                    self.leave()
                with self._counting(mode, modules):
                    return step(*args, **kwargs)

            return counted

        self._detour = Detour(owner, name, counting)

    def inside(self, model: Any, modules: Mapping[str, Any]) -> AbstractContextManager[None]:
        """A context that counts the first batch, and does nothing at later ones.

        Args:
            model: What is trained.
            modules: Modules that are loaded already (``sys.modules``).
        """
        if self._begun or self.why_not:
            return nullcontext()
        mode = self._mode(model, modules)
        return nullcontext() if mode is None else self._counting(mode, modules)

    def leave(self) -> None:
        """Put the function back, if it is still replaced."""
        detour, self._detour = self._detour, None
        if detour is not None:
            detour.remove()

    def _mode(self, model: Any, modules: Mapping[str, Any]) -> AbstractContextManager[Any] | None:
        """Counts what is executed inside; None where that cannot be, whatever the reason."""
        try:
            self.why_not = obstacle(model, modules)
            return None if self.why_not else watching(modules["torch"], self._operations)
        except Exception as error:  # another version of PyTorch
            self.why_not = f"the step could not be watched ({error})"
            return None

    @contextmanager
    def _counting(self, mode: AbstractContextManager[Any], modules: Mapping[str, Any]) -> Iterator[None]:
        self._begun += 1
        try:
            with mode:
                yield
        except BaseException:
            self.leave()
            raise
        self._batches += 1
        if compiling(modules):
            self.why_not = COMPILED
        elif self._operations.unknown:
            self.why_not = f"{self._operations.unknown} cannot be counted"
        elif not self._operations.total:
            self.why_not = "no operator that multiplies was seen"
