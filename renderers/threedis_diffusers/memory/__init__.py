"""How much memory a model takes, and how it is placed where there is little. Bytes everywhere."""
