"""Measurements: speed, memory and endurance. Nothing here is a timed test."""
