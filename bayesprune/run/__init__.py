"""One run: its settings, its method, its network by name, its budget, and its result."""
