"""The stories, one page each, told over ports: look, decide, act."""
