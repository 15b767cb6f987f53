"""Custom CPU operations of whisper_max, built into its compiled artifacts."""
