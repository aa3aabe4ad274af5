"""What bioqa promises about kills, damage, concurrency and odd input, measured."""
