"""Training steps of onsager against those that a user of PyTorch would write: `python -m tests.benchmarks`.

Needs `pip install torch`. No test: times depend on the machine, and what counts are ratios of one run.
"""
