"""What learns, on what, and how."""
