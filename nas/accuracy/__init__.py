"""Ways to judge the accuracy of an `Arch`, one a file."""
