"""Demonstration: simulated skies, the quick-start network, baselines and a report."""
