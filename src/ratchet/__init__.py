"""The release engineer for model changes: run, judge, release, watch."""
