"""Maps of other programs, read as plain data: one format a file, every one taken for hostile."""
