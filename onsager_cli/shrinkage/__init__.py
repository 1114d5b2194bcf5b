"""Scalar shrinkage functions and their average derivatives."""
