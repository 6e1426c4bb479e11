"""Which frames of a pool to label: uncertain enough, unlike each other, and a random part to score on."""
