"""Lockkeeper: promotes container images between environments through reviewed pull requests."""
