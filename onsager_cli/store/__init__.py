"""Files: trained curves found by content, tables, arrays, locks, matrices, environment. No JAX here."""
