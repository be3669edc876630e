"""Where the joules of a run are booked: each once, in one phase and at most one epoch and block."""

from __future__ import annotations

from dataclasses import dataclass, field

from fitprint.energy import Energy

PHASES = ("train", "validate", "sanity_check", "checkpoint", "test", "predict", "other")


@dataclass
class Window:
    """A stretch of the run: its energy in all and by phase."""

    energy: Energy = field(default_factory=Energy)
    phases: dict[str, Energy] = field(default_factory=dict)

    def book(self, energy: Energy, phase: str) -> None:
        self.energy = _plus(self.energy, energy)
        self.phases[phase] = _plus(self.phases.get(phase), energy)

    def joules_in(self, phase: str) -> float:
        """Joules of one phase; 0.0 if it has not occurred."""
        energy = self.phases.get(phase)
        return energy.joules if energy is not None else 0.0

    def phases_j(self) -> dict[str, float]:
        """Joules by phase."""
        return {phase: energy.joules for phase, energy in self.phases.items()}


class Account:
    """Books every stretch between two readings.

    Args:
        base_phase: The phase of everything that no other phase claims.
    """

    def __init__(self, base_phase: str = "other") -> None:
        self.run = Window()
        self.in_epochs = Energy()
        self.epoch: Window | None = None
        self.block: Window | None = None
        self._phases = [base_phase]

    @property
    def phase(self) -> str:
        """The phase that runs now."""
        return self._phases[-1]

    def book(self, energy: Energy) -> None:
        """Book a stretch to the run, its phase and the open epoch and block."""
        self.book_at(energy, self.phase)

    def book_at(self, energy: Energy, phase: str, *, inside: bool = True) -> None:
        """Book a stretch to a phase; ``inside`` is False for what was used before the open epoch began."""
        self.run.book(energy, phase)
        if not inside:
            return
        if self.epoch is not None:
            self.epoch.book(energy, phase)
            self.in_epochs = _plus(self.in_epochs, energy)
        if self.block is not None:
            self.block.book(energy, phase)

    def with_booked(self, energy: Energy) -> Account:
        """A copy in which a further stretch is booked; this account stays as it is."""
        copy = Account()
        copy._phases = list(self._phases)
        copy.run = Window(self.run.energy, dict(self.run.phases))
        copy.in_epochs = self.in_epochs
        copy.epoch = Window() if self.epoch is not None else None
        copy.book(energy)
        return copy

    def enter(self, phase: str) -> None:
        self._phases.append(phase)

    def leave(self, phase: str) -> None:
        """End the innermost phase of that name and what was left open inside it; unknown names are ignored."""
        if phase in self._phases[1:]:
            while self._phases.pop() != phase:
                pass


def _plus(sum_so_far: Energy | None, energy: Energy) -> Energy:
    return energy if sum_so_far is None else sum_so_far + energy
