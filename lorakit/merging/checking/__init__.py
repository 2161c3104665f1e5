"""What a stack will do, told from its weights before anything is rendered."""
