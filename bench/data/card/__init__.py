"""What a data set is: the card that describes it, and the layout of its raw tables."""
