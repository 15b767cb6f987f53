"""What headers tell of a recording that its decoder does not."""
