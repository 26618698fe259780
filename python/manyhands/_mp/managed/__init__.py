"""Managers: a process that keeps objects for others, and the objects it keeps."""
