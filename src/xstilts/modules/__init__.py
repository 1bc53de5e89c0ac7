"""What is trained and how it combines: methods and operators."""
