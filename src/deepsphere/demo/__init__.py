"""The demonstration: simulated skies, the quick-start network, its baselines, its report."""
