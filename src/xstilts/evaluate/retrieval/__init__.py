"""Retrieval tasks: sentence vectors, nearest neighbours and mining."""
