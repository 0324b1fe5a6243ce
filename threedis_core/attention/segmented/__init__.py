"""The lowering by segments: cells that see the same keys are attended together, without a mask."""
