"""Values, rules and decisions: standard library only, no input or output, no clock."""
