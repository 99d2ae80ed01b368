"""Random multipliers on channels: the relatives of gates, each a law in one frame."""
