"""The study of arXiv 2107.12917: pruning methods compared."""
