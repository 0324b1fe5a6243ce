"""The checks that ``RendererConformance`` is made of, by what they look at."""
