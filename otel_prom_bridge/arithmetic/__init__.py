"""Sums of points: histograms, equal series, other units."""
