"""Reading and writing files: documents, pictures, depth maps; bounded, plain, atomic."""
