"""Scanners of images, kept away from everything else."""
