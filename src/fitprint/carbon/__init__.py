"""Floor 3: from joules to grams."""
