"""What a change costs and saves."""
