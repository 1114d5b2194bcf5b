"""The published record: pages, gallery, HTML report, provenance, published numbers. No JAX here."""
