"""The study of networks for CIFAR-10, pruned to published sizes."""
