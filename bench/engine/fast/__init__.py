"""What makes training fast and changes no number: gradients of tables, optimisers, recorded steps."""
