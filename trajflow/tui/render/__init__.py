"""Pictures of windows and tracks as terminal cells, with numpy alone."""
