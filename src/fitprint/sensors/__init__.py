"""Floor 1: what has joules."""
