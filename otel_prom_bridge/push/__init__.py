"""A process among several: it pushes what it records to the hub that shows the sum of all."""
