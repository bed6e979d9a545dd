"""Design spaces: which runs there are, what each costs by its plan, and which are worth measuring. No torch."""
