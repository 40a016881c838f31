"""Ready-made scorers, one file a family; each is found by its name (`plugins.SCORERS`)."""
