"""What travels between processes, and in which form: code by value, errors, shared objects."""
