"""``python -m whisper``: openai-whisper's command."""

from whisper_max.compat.whisper.command import cli

if __name__ == "__main__":
    cli()
