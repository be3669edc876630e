"""Ways to show a Footprint. Renderers read its public fields and know nothing else."""
