"""Speed as ratios within one run; run them all with `make bench`."""
