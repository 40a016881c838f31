"""stub"""
from ratchet.testing.migrations.drawing import simulate
from ratchet.testing.migrations.records import Migration
