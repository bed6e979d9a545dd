"""The devices that networks run on: one file a kind, with its clock, memory, caches and sensors."""
