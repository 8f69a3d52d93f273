"""Simulated skies, and readers for the file formats of cosmology."""
