"""Sky simulations and readers of the field's own formats."""
