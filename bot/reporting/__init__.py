"""What people are told, as reports for the outbox."""
