//! Thread pools, process pools and futures whose work can be stopped and whose workers may die.
