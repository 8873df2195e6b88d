"""Stages: what the command line calls; the only place that composes the other parts."""
