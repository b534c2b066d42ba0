"""Household tasks without a language model: instructions parsed by rule, planned with the memory, or by exploring."""
