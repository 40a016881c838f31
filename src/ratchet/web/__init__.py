"""The page on a project's store: what `ratchet view` serves."""
