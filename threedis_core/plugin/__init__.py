"""What a plugin implements and registers, and how it is found, checked and made."""
