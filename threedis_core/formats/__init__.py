"""Layouts in the files that people have: our own, COCO annotations, COCO-MIG."""
