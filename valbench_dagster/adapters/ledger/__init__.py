"""The ledger in a database, SQLite by default and PostgreSQL by URL: the only importer of sqlalchemy."""
