"""How ours come under the standard modules' names, and what of the standard ones stays."""
