"""The engine over every pair of database and vector backend answers alike."""
