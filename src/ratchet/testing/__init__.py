"""Contract tests to inherit from, for those who write a store or a provider.

Nothing is imported here: `ratchet.testing.stores` and its siblings need pytest, this package does not.
"""
