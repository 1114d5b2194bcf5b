"""Bounds, classical algorithms run for many iterations, state evolution, EM-VAMP."""
