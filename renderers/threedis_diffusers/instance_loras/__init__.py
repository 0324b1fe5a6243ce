"""LoRAs that count in the region of an instance alone."""
