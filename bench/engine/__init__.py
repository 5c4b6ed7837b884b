"""Training engine: model assembly and surgery, fit, evaluation, clock."""
