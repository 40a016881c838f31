"""Simulated models: in process (`models`) or behind the vendors' own HTTP formats (`server`)."""
