"""Quantised weights: what is wanted, the libraries' configurations of it, weights kept in FP8."""
