"""Numbers that checks of the configuration and the science both use."""

POSITIVE = 1e-3  # lower bound of a positive entry of θ (a width, a variance) that learns
