"""Text in, values out, and back: pure readers and writers of every format that Lockkeeper meets."""
