"""The plan as torch modules, mechanically: no channel arithmetic happens here."""
