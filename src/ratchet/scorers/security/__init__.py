"""Scorers of the dimension "security": rules, no judge. True is the safe outcome, as everywhere a pass is True."""
