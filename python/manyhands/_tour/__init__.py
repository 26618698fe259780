"""`manyhands tour`: the main job of the package, shown on this machine.

A program that uses the public modules as anybody's does.
"""
