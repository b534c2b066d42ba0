"""Pick-and-place in the embedded houses, told in symbols: hands, doors, states, and what one room shows."""
