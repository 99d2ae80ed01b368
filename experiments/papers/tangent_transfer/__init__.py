"""The study of neural tangent transfer (arXiv 2006.08228)."""
