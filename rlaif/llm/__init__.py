"""Language models: requests in, answers out, kept in a ledger."""
