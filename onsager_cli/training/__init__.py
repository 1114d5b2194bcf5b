"""Training: a plan is a list of stages (plan.py), and one function runs any stage (`loop.fit`)."""
