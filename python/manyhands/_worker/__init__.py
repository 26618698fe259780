"""How worker processes come to be, what they are told about the program, and how they end."""
