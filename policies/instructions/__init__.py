"""Following routes through houses that are told in words."""
