"""HTTP: webhook intake on one listener; board, health and metrics on another."""
