"""What is between the eras: one era's requests, questions and results as the other has them."""
