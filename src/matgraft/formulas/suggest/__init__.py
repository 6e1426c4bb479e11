"""What to measure next: candidates ranked by expected improvement and by information, spread over chemistry."""
