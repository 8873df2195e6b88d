"""Labeling: soft preferences, scores and rankings by a language model."""
