"""What is known of every method, from its entry, its docstring, its parameters and recorded runs."""
