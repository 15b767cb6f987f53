"""Times, error rates, parity and checks of an installation."""
