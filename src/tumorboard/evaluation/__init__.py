"""Numbers from predictions alone; nothing here knows a network."""
