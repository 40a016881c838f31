"""A real case that runs anywhere: students' C programs, two simulated models, and a reviewer made of rules.

`case/` is what `ratchet demo` lays, `starter/` what `ratchet init` lays.
"""
