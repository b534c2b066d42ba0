"""Planning with a language model behind any OpenAI-compatible endpoint; a rule planner does the task where it fails."""
