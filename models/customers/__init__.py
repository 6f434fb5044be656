"""What is remembered of customers."""
