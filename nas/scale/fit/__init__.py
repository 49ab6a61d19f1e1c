"""The fit of alpha, beta and gamma."""
