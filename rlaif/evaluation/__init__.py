"""How good labels are: against people, against one another, against themselves."""
