"""Several memories become one: a set union of what they wrote, laid out in one order."""
