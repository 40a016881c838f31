"""The statistics of the verdict: pure functions over numpy arrays, one file a question, nothing imported eagerly."""
