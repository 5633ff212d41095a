"""Description of a dataset for people: figures, pictures, and text that its content cannot fool."""
