"""What U-Nets share, whatever they draw: regional cross-attention, texts, schedulers, steps."""
