"""From points to an exposition, whoever brings the points."""
