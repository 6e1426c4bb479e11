"""What knows neither wing: contracts, files, statistics, the one training loop, the manner of a report."""
