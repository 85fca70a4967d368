"""Asking through a provider's batches: for less money, within a day, across restarts."""
