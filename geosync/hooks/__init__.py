"""Programs that the operator has run when something has happened."""
