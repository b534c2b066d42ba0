"""Finding records: vectors, fusion of rankings, what a language model reads of it."""
