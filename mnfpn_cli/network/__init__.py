"""The plan as torch modules, one for one: no channels are computed here."""
