"""What a network is told, in words, for the tables of problems beyond the paper's."""

from onsager_cli.kinds.settings import Settings


def told(settings: Settings) -> str:
    """What a network is given besides y, in words: "A, prior, noise"."""
    network, record, problem = settings.network, settings.network.record, settings.problem
    if record.bound:
        return "A, support, noise" if record.told else "A, power, noise"
    found = ["A" if problem.known_operator else "A estimated"]
    if problem.perturb_db is not None:
        found = [f"A with an error of {problem.perturb_db:g} dB"]
    if settings.training.trains:
        found.append("training samples")
    elif record.uses_shrinkage and settings.shrinkage.family == problem.matched_shrinkage:
        found.append("prior")
    if record.evolution == "vamp" or record.fit:
        known = "noise" if not settings.training.trains and network.noise_start == "known" else ""
        found.append("noise of each sample estimated" if problem.noise_varies else known)
    return ", ".join(filter(None, found))
