"""Routes through houses, told in words from what is truly there."""
