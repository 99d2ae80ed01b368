"""The study of input selection on data whose true inputs are known."""
