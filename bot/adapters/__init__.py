"""All input and output; each adapter implements a port and none knows another."""
