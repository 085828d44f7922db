"""From what is sealed to the environment ref."""
