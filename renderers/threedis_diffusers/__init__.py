"""What every renderer that drives a diffusers pipeline shares: files, devices, LoRAs, batches.

Made for renderers outside of this project as well: derive from ``backend.DiffusersRenderer`` and
``options.DiffusersOptions``.
"""
