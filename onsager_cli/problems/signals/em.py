"""A Gaussian mixture fitted to values by EM, in double precision and always the same way."""

import numpy as np

ROUNDS = 200
NARROWEST = 1e-6  # variance of a component as a share of the mean square of all values


def fit_mixture(values: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and variances of at most `components` Gaussians that describe the values (n,).

    Complex values get circular components of zero mean. Components start at quantiles; few different values become
    components of their own. Reference: Dempster, Laird and Rubin (1977).

    Example:
        >>> weights, means, _ = fit_mixture(np.repeat([-1.0, 1.0], [10, 30]), 3)
        >>> [round(float(w), 3) for w in weights], [round(float(m), 3) for m in means]
        ([0.25, 0.75], [-1.0, 1.0])
    """
    circular = np.iscomplexobj(values)
    values = values.astype(np.complex128 if circular else np.float64).ravel()
    power = float(np.mean(np.abs(values) ** 2))
    floor = NARROWEST * power
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= components and not circular:
        return counts / counts.sum(), different, np.full(len(different), floor)
    ordered = np.sort(np.abs(values) if circular else values)
    parts = np.array_split(ordered, components)
    means = np.zeros(components) if circular else np.array([part.mean() for part in parts])
    variances = (
        np.array([np.mean(part**2) for part in parts])
        if circular
        else np.full(components, np.var(ordered) / components)
    )
    variances, weights = np.maximum(variances, floor), np.full(components, 1 / components)
    exponent = 1.0 if circular else 0.5
    for _ in range(ROUNDS):
        distance = np.abs(values[:, None] - means) ** 2
        logs = np.log(weights) - exponent * (distance / variances + np.log(variances))
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        mass = np.maximum(shares.sum(axis=0), 1e-12)
        weights = mass / mass.sum()
        if not circular:
            means = (values @ shares) / mass
        variances = np.maximum((shares * np.abs(values[:, None] - means) ** 2).sum(axis=0) / mass, floor)
    return weights, means, variances
