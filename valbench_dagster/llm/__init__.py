"""Model calls without a vendor: requests, replies, the dispatcher, its retry rules, the port of the ledger."""
