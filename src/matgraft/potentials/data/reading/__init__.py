"""From files to frames with labels: one file a format."""
