"""What every package may use: errors, files, journals, run folders, progress, configuration."""
