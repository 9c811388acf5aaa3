"""What an operator does: check, migrate, recover, close, replay. Functions; the command line only lays them out."""
