"""How good the answers are: labels, the measures, and what they say of each attribute."""
