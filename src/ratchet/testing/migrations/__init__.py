"""Simulated migrations whose truth is known; `ratchet.testing.simulate` is the door."""
