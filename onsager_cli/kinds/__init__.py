"""Records of what there is: networks, problems, shrinkage families, trainings. No JAX here."""
