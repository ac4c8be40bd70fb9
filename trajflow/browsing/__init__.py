"""Windows of a store beside what runs forecast of them, for whoever looks."""
