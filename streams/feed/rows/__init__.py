"""From the rows of a file to events: readers, the row mapper, refused rows, the report."""
