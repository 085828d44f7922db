"""What the use cases need from the world: one file of Protocols per subject."""
