"""Executors and futures: what `manyhands.futures` shows."""
