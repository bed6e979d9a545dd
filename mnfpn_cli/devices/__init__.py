"""The devices that networks run on: one file for each kind, with its clock, memory, caches and sensors."""
