"""What every plugin that runs a vision model of transformers shares: its files and its loading."""
