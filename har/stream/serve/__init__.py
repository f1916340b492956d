"""A page for cameras, phones and recordings, and its server; no JAX."""
