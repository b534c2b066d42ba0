"""What a node has to say as fields of messages: plain mappings, so that no message class is needed."""
