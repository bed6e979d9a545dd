"""Design spaces: which cells there are, what each costs by its plan, and which are worth measuring. No torch."""
