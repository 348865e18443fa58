"""What every operation costs: integer picoseconds from a machine's rates and a model's shapes, rounded up, never a
float."""
