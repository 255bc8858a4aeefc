"""Object stores and what geosync keeps in them."""
