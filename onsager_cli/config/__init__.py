"""What a command asks for: options and overrides to validated settings. No JAX here."""
