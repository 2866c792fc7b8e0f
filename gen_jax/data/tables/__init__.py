"""Tables: cells, what they mean, and conditions on them."""
