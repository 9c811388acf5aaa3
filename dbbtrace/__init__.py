"""dbbtrace."""
