"""What recorded runs say to the questions of the results page."""
