"""The scene graph: rooms of a floor plan, what stands in them, and how things lie to each other."""
