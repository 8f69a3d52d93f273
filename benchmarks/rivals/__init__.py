"""What a user could pick instead of this package: one file each, written as its users write it."""
