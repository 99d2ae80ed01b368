"""The parts of the tree that ArviZ reads; `bayesprune.run.datatree` puts them together."""
