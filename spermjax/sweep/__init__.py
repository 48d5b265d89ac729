"""Sweeps: one file, a search over it, and the comparison of what came out."""
