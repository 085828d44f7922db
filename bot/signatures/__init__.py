"""Copying, signing, attesting and verifying: a library over registry and keys."""
