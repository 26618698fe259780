"""Objects in memory that processes share: locks, values, arrays, blocks of bytes."""
