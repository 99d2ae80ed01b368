"""Architecture search: genomes, regularised evolution, and a predictor that chooses which children are trained."""
