"""Threads, their locks and the reports on deadlocks: what `manyhands.threading` shows."""
