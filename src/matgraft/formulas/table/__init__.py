"""Tables of formulas: read, checked, and beside a domain without labels."""
