"""Neural architecture search and compound scaling for mobile networks."""
