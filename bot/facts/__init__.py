"""What is known of the world at one look: read-only, over ports."""
