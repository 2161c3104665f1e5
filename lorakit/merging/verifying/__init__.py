"""Whether a file holds what it says it was made from: made again in memory, and compared."""
