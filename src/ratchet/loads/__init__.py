"""Load tests: drive variants the way production would, and say what they held."""
