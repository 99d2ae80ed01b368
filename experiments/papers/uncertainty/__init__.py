"""What a posterior over structure is good for: uncertainty of predictions, beside deep ensembles and dropout."""
