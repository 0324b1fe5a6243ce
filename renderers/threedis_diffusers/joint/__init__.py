"""Renderers whose model attends to text and image together, as FLUX.1 and Stable Diffusion 3 do.

A backend derives from ``renderer.JointRenderer``, or ``controlnet.JointControlNetRenderer``; its
options from ``options.JointOptions`` or ``options.ControlNetOptions``. It says which pipeline it
drives, how its prompts are embedded and where its tokens are; all else is here.
"""
