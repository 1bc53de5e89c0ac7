"""Alignment of languages in the sentence vectors of a model, by block and over training."""
