"""Second floor: networks, and the Pyro models over them (gate priors, weight priors, likelihoods)."""
