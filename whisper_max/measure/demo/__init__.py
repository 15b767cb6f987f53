"""One recording through openai-whisper and this package's own ways, each in a process of its own, side by side."""
