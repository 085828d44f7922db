"""One loop each: look, decide, act, and the reports that follow."""
