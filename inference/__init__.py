"""Third floor: guides, gate-gradient estimators, the ELBO, variational inference with shrinking, exact references."""
