"""Tasks: what happens in one house (a tour, a night) and what is then asked of the agent."""
