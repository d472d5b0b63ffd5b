"""What Prometheus is told: counters of this replica, and where every federation stands, read from the store."""
