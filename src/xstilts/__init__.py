"""Modular cross-lingual transfer: intermediate-task modules for XLM-R, composed and evaluated."""

__version__ = "0.1.0"
