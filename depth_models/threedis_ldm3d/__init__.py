"""Layout to depth: a text-to-depth diffusion model with a layout adapter."""
