"""From a branch head to the one living pull request."""
