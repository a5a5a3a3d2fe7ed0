"""What a user would pick instead of the zoo, on the same rows and weights."""
