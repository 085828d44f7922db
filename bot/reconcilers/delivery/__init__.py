"""From a merge to a sealed image."""
