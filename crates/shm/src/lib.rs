//! The family heap: one shared mapping per process family, with an allocator that survives the death of any party.
